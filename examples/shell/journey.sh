#!/usr/bin/env bash
# The journey of a customer: pays an order, starts the interview with the access code from the mail,
# and waits until the code is redeemed. Needs grpcurl, which asks the services for their contracts.
set -euo pipefail

if [ $# -ne 4 ]; then
  echo "usage: $0 PAYMENT INTERVIEW TOKEN MAIL_ADDRESS" >&2
  exit 2
fi
payment=$1 interview=$2 token=$3 email=$4

# Prints the reply to: call ADDRESS METHOD REQUEST. Repeats it while the service is unavailable, which
# is safe: reads change nothing, and mutations carry a request id.
call() {
  local errors attempt
  errors=$(mktemp)
  for attempt in 1 2 3 4; do
    if grpcurl -plaintext -max-time 10 -H "authorization: Bearer $token" -d "$3" "$1" "$2" 2>"$errors"
    then
      rm "$errors"
      return
    fi
    grep -q 'Code: Unavailable' "$errors" || break
    sleep "$attempt"
  done
  cat "$errors" >&2
  rm "$errors"
  return 1
}

# Prints the first value of a field in a reply. Old versions of grpcurl print order_id, new ones orderId.
field() {
  awk -v key="^\"$1\":" '$1 ~ key && !found++ { gsub(/[",]/, "", $2); print $2 }'
}

request_id=$(date +%s)-$$ # a repeated call with the same id has no second effect
order=$(call "$payment" payment.v1.PaymentService/CreateOrder "{
  \"request_id\": \"$request_id\", \"customer_id\": \"li.hua\", \"product_id\": \"backend-60\",
  \"recipient\": {\"email\": \"$email\"}}" | field 'order_?[iI]d')
status=$(call "$payment" payment.v1.PaymentService/CreatePayment "{
  \"request_id\": \"$request_id\", \"order_id\": \"$order\",
  \"payment_method\": \"sandbox_approve\"}" | field status)
if [ "$status" != PAYMENT_STATUS_SUCCEEDED ]; then
  echo "the payment of $order is $status" >&2
  exit 1
fi

printf '%s is paid. Access code in the mail: ' "$order"
read -r code
session=$(call "$interview" interview.v1.InterviewService/StartSession "{
  \"request_id\": \"$request_id\", \"access_code\": \"$code\"}" | field 'session_?[iI]d')
echo "$session is in progress"

# The event InterviewStarted redeems the code, shortly after the start.
for _ in $(seq 30); do
  reason=$(call "$payment" payment.v1.AccessCodeService/ValidateAccessCode \
    "{\"access_code\": \"$code\"}" | field reason)
  if [ "$reason" = VALIDATION_REASON_REDEEMED ]; then
    echo "the access code is redeemed"
    exit
  fi
  sleep 1
done
echo "the access code is not redeemed after 30 s" >&2
exit 1
