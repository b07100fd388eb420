// The journey of a customer: pays an order, starts the interview with the access code from the mail,
// and waits until the code is redeemed.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import type { StartSessionResponse__Output } from "./gen/interview/v1/StartSessionResponse.js";
import type { AccessCodeServiceClient } from "./gen/payment/v1/AccessCodeService.js";
import type { CreateOrderResponse__Output } from "./gen/payment/v1/CreateOrderResponse.js";
import type { CreatePaymentResponse__Output } from "./gen/payment/v1/CreatePaymentResponse.js";
import type { PaymentServiceClient } from "./gen/payment/v1/PaymentService.js";
import type { ValidateAccessCodeResponse__Output } from "./gen/payment/v1/ValidateAccessCodeResponse.js";
import type { ProtoGrpcType as AccessCodeContract } from "./gen/access_code_service.js";
import type { ProtoGrpcType as InterviewContract } from "./gen/interview_service.js";
import type { ProtoGrpcType as PaymentContract } from "./gen/payment_service.js";

// Repeating a call is safe: reads change nothing, and mutations carry a request id. See "Clients" in
// docs/operations.md.
const RETRY_POLICY = {
  maxAttempts: 5,
  initialBackoff: "0.1s",
  maxBackoff: "1s",
  backoffMultiplier: 2,
  retryableStatusCodes: ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"],
};
const OPTIONS = {
  "grpc.enable_http_proxy": 0, // as the other clients: the services are reached directly
  "grpc.service_config": JSON.stringify({
    loadBalancingConfig: [{ round_robin: {} }],
    methodConfig: [{ name: [{}], timeout: "10s", retryPolicy: RETRY_POLICY }],
  }),
};

function contract<Contract>(file: string): Contract {
  const folders = ["protos", "build/protos"];
  const includeDirs = folders.map((folder) =>
    fileURLToPath(new URL(`../../../${folder}`, import.meta.url)),
  );
  const definition = loadSync(file, { includeDirs, enums: String });
  return grpc.loadPackageDefinition(definition) as unknown as Contract;
}

function unary<Reply>(start: (callback: grpc.requestCallback<Reply>) => unknown): Promise<Reply> {
  return new Promise((resolve, reject) =>
    start((error, reply) => (error ? reject(error) : resolve(reply as Reply))),
  );
}

async function payOrder(payments: PaymentServiceClient, token: grpc.Metadata, email: string) {
  const requestId = randomUUID(); // a repeated call with the same id has no second effect
  const created = await unary<CreateOrderResponse__Output>((done) =>
    payments.createOrder(
      { requestId, customerId: "li.hua", productId: "backend-60", recipient: { email } },
      token,
      done,
    ),
  );
  const orderId = created.order!.orderId!;
  const paid = await unary<CreatePaymentResponse__Output>((done) =>
    payments.createPayment({ requestId, orderId, paymentMethod: "sandbox_approve" }, token, done),
  );
  if (paid.payment?.status !== "PAYMENT_STATUS_SUCCEEDED") {
    throw new Error(`the payment of ${orderId} is ${paid.payment?.status}`);
  }
  return orderId;
}

/** The event InterviewStarted redeems the code, shortly after the start. */
async function waitUntilRedeemed(
  codes: AccessCodeServiceClient,
  token: grpc.Metadata,
  accessCode: string,
) {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; await sleep(200)) {
    const found = await unary<ValidateAccessCodeResponse__Output>((done) =>
      codes.validateAccessCode({ accessCode }, token, done),
    );
    if (found.reason === "VALIDATION_REASON_REDEEMED") return;
  }
  throw new Error("the access code is not redeemed after 30 s");
}

async function readLine(): Promise<string> {
  const input = createInterface({ input: process.stdin });
  for await (const line of input) {
    input.close();
    return line;
  }
  throw new Error("no access code was entered");
}

async function main(
  paymentAddress: string,
  interviewAddress: string,
  bearer: string,
  email: string,
) {
  const insecure = grpc.credentials.createInsecure();
  const { PaymentService } = contract<PaymentContract>("payment/v1/payment_service.proto").payment.v1;
  const { AccessCodeService } = contract<AccessCodeContract>("payment/v1/access_code_service.proto")
    .payment.v1;
  const { InterviewService } = contract<InterviewContract>("interview/v1/interview_service.proto")
    .interview.v1;
  const payments = new PaymentService(paymentAddress, insecure, OPTIONS);
  const codes = new AccessCodeService(paymentAddress, insecure, OPTIONS);
  const interviews = new InterviewService(interviewAddress, insecure, OPTIONS);
  const token = new grpc.Metadata();
  token.set("authorization", `Bearer ${bearer}`);

  const orderId = await payOrder(payments, token, email);
  process.stdout.write(`${orderId} is paid. Access code in the mail: `);
  const accessCode = await readLine();
  const { session } = await unary<StartSessionResponse__Output>((done) =>
    interviews.startSession({ requestId: randomUUID(), accessCode }, token, done),
  );
  console.log(`${session!.sessionId} is in progress`);
  await waitUntilRedeemed(codes, token, accessCode);
  console.log("the access code is redeemed");
  for (const client of [payments, codes, interviews]) client.close();
}

const [paymentAddress, interviewAddress, token, email] = process.argv.slice(2);
if (!paymentAddress || !interviewAddress || !token || !email) {
  console.error("usage: npm start -- PAYMENT INTERVIEW TOKEN MAIL_ADDRESS");
  process.exit(2);
}
try {
  await main(paymentAddress, interviewAddress, token, email);
} catch (error) {
  console.error((error as Error).message); // for programs: ServiceError has code and metadata
  process.exit(1);
}
