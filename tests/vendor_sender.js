// GlycanAge's side, written after the vendor's page: its four payloads, signed with crypto.createHmac, posted as JSON.
// node vendor_sender.js URL SECRET

const crypto = require("crypto");
const http = require("http");

const [url, secret] = process.argv.slice(2);

const payloads = [
  {
    type: "order-status-changed",
    timestamp: 1693123200000,
    data: {
      orderId: "order_12345",
      orderType: "bulk-order", // or "kit-order"
      previousStatus: "pending",
      currentStatus: "paid",
      practiceId: "practice_67890",
      numberOfKits: 50,
      amount: 25000, // in cents
      currency: "USD",
    },
  },
  {
    type: "assignment-status-changed",
    timestamp: 1693123200000,
    data: {
      assignmentId: "assignment_12345",
      previousStatus: "pending",
      currentStatus: "approved",
      practiceId: "practice_67890",
      paymentType: "bank-transfer", // or "token"
      amount: 15000, // in cents (null if paid with tokens)
      currency: "USD",
      sets: [{ patientId: "patient_123", kitCode: "KIT001234", product: "regular" }],
    },
  },
  {
    type: "kit-received",
    timestamp: 1693123200000,
    data: {
      kitCode: "KIT001234",
      testId: "test_56789",
      patientId: "patient_123",
      practiceId: "practice_67890",
      assignmentId: "assignment_12345",
      receivedAt: 1693120000000,
      status: "inAnalysis",
    },
  },
  {
    type: "report-ready",
    timestamp: 1693123200000,
    data: {
      reportId: "report_78901",
      testId: "test_56789",
      kitCode: "KIT001234",
      patientId: "patient_123",
      practiceId: "practice_67890",
      assignmentId: "assignment_12345",
      glycanAge: "45.2",
      chronologicalAge: "42",
      reportUrl: "/reports/report_78901",
      createdOn: 1693123000000,
    },
  },
];

function post(payload) {
  const body = JSON.stringify(payload);
  const signature = "sha256=" + crypto.createHmac("sha256", secret).update(body).digest("hex");
  const headers = { "Content-Type": "application/json", "X-GlycanAge-Signature": signature };
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: "POST", headers, timeout: 10000 }, (response) => {
      let answer = "";
      response.on("data", (chunk) => (answer += chunk));
      response.on("end", () => resolve(`${response.statusCode} ${answer}`));
    });
    request.on("timeout", () => request.destroy(new Error("no answer within 10 seconds")));
    request.on("error", reject);
    request.end(body);
  });
}

(async () => {
  for (const payload of payloads) console.log(await post(payload));
})();
