"""Operations of several transactions and calls to payment."""
