"""Creates the session of a paid order."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from interview_svc.domain.cached_code import CachedCode, Holder
from interview_svc.domain.events import Recipient
from interview_svc.domain.questions import QuestionBank
from interview_svc.domain.sessions import Session


@dataclass(frozen=True, slots=True)
class SessionFactory:
    """Creates sessions with questions of the bank and new ids."""

    bank: QuestionBank
    new_id: Callable[[], str]

    def create(self, cached: CachedCode, holder: Holder, now: datetime) -> Session:
        """A session in the state that the cached code implies, with its event."""
        record = cached.record
        session = Session(
            session_id=self.new_id(),
            order_id=record.order_id,
            customer_id=holder.customer_id,
            recipient=Recipient(holder.email, holder.display_name, holder.language_code),
            product_id=record.product_id,
            access_code_id=record.access_code_id,
            question_set=self.bank.choose(record.product_id, holder.language_code),
            prepared_at=now,
        )
        session.sync_with_code(cached, now)
        if not session.events:
            session.announce_prepared()
        return session
