// The journey of a customer: pays an order, starts the interview with the access code from the mail,
// and waits until the code is redeemed.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	interviewv1 "mockinterview.example/examples/go/gen/interview/v1"
	paymentv1 "mockinterview.example/examples/go/gen/payment/v1"
)

//go:generate buf generate

// Repeating a call is safe: reads change nothing, and mutations carry a request id. See "Clients" in
// docs/operations.md.
const serviceConfig = `{"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [{
	"name": [{}], "timeout": "10s", "retryPolicy": {
	"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
	"retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"]}}]}`

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: go run . PAYMENT INTERVIEW TOKEN MAIL_ADDRESS")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, describe(err))
		os.Exit(1)
	}
}

func run(paymentAddress, interviewAddress, token, email string) error {
	payment, err := dial(paymentAddress, token)
	if err != nil {
		return err
	}
	defer payment.Close()
	interview, err := dial(interviewAddress, token)
	if err != nil {
		return err
	}
	defer interview.Close()

	ctx := context.Background()
	orderID, err := payOrder(ctx, paymentv1.NewPaymentServiceClient(payment), email)
	if err != nil {
		return err
	}
	fmt.Printf("%s is paid. Access code in the mail: ", orderID)
	input := bufio.NewScanner(os.Stdin)
	if !input.Scan() {
		return errors.New("no access code was entered")
	}
	code := input.Text()

	started, err := interviewv1.NewInterviewServiceClient(interview).StartSession(
		ctx, &interviewv1.StartSessionRequest{RequestId: rand.Text(), AccessCode: code})
	if err != nil {
		return err
	}
	fmt.Println(started.Session.SessionId, "is in progress")
	if err := waitUntilRedeemed(ctx, paymentv1.NewAccessCodeServiceClient(payment), code); err != nil {
		return err
	}
	fmt.Println("the access code is redeemed")
	return nil
}

func payOrder(ctx context.Context, payments paymentv1.PaymentServiceClient, email string) (string, error) {
	requestID := rand.Text() // a repeated call with the same id has no second effect
	created, err := payments.CreateOrder(ctx, &paymentv1.CreateOrderRequest{
		RequestId:  requestID,
		CustomerId: "li.hua",
		ProductId:  "backend-60",
		Recipient:  &paymentv1.Recipient{Email: email},
	})
	if err != nil {
		return "", err
	}
	orderID := created.Order.OrderId
	paid, err := payments.CreatePayment(ctx, &paymentv1.CreatePaymentRequest{
		RequestId: requestID, OrderId: orderID, PaymentMethod: "sandbox_approve",
	})
	if err != nil {
		return "", err
	}
	if paid.Payment.Status != paymentv1.PaymentStatus_PAYMENT_STATUS_SUCCEEDED {
		return "", fmt.Errorf("the payment of %s is %s", orderID, paid.Payment.Status)
	}
	return orderID, nil
}

// The event InterviewStarted redeems the code, shortly after the start.
func waitUntilRedeemed(ctx context.Context, codes paymentv1.AccessCodeServiceClient, code string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		found, err := codes.ValidateAccessCode(ctx, &paymentv1.ValidateAccessCodeRequest{AccessCode: code})
		if err != nil {
			return err
		}
		if found.Reason == paymentv1.ValidationReason_VALIDATION_REASON_REDEEMED {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func dial(address, token string) (*grpc.ClientConn, error) {
	authorize := func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn,
		invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
		return invoke(ctx, method, request, reply, conn, options...)
	}
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(authorize),
		grpc.WithDefaultServiceConfig(serviceConfig),
	)
}

// describe adds the reason to the text of a failed call. Programs decide by the code and the reason.
func describe(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return fmt.Sprintf("%s (%s)", status.Convert(err).Message(), info.Reason)
		}
	}
	return err.Error()
}
