package render

import (
	"net/http"
	"strings"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/unattended"
)

// Values of action: what the caller should do.
const (
	fixRequest      = "fix_request"
	authenticate    = "authenticate"
	refreshAccounts = "refresh_accounts"
	renewConsent    = "renew_consent"
	retryAttended   = "retry_attended"
	retryLater      = "retry_later"
	contactSupport  = "contact_support"
)

// problemSpec describes the problem of one kind.
type problemSpec struct {
	status int
	action string
	title  string
	detail string // the default; see actionAndDetail
	wait   wait
}

// wait describes the Retry-After of one kind.
type wait struct {
	fromError bool          // Error.RetryAfter, if it is set
	fallback  time.Duration // otherwise; 0 for no header
}

// problems has the problem of every kind. A test checks that it is complete.
var problems = map[canonical.Kind]problemSpec{
	canonical.FormatError: {
		status: http.StatusBadRequest, action: fixRequest, title: "Invalid request",
		detail: "`errors` lists every invalid or missing header and parameter. Nothing was sent to the bank, and " +
			"nothing was counted.",
	},
	canonical.PSUAddressRequired: {
		status: http.StatusBadRequest, action: retryAttended, title: "The user must be present",
		detail: neverUnattended + " Nothing was sent to the bank, and nothing was counted.",
	},
	canonical.Unauthenticated: {
		status: http.StatusUnauthorized, action: authenticate, title: "Authentication failed",
		detail: "No valid credentials. Send your API key as `X-API-Key`, or the key or an access token as " +
			"`Authorization: Bearer`.",
	},
	canonical.Forbidden: {
		status: http.StatusForbidden, action: contactSupport, title: "Missing scope",
		detail: "This call requires a scope that your client does not have. Ask the operator of the gateway to grant it.",
	},
	canonical.ConsentExpired: {
		status: http.StatusForbidden, action: renewConsent, title: "Consent expired",
		detail: "The consent or the user's token has expired, or the bank requires strong customer authentication " +
			"again. Ask the user to renew the consent.",
	},
	canonical.ConsentInvalid: {
		status: http.StatusForbidden, action: renewConsent, title: "Consent not valid",
		detail: "The provider does not recognise the consent or the user's token, or it was revoked. Check that " +
			"both belong to this ASPSP; otherwise ask the user for a new consent.",
	},
	canonical.ASPSPUnknown: {
		status: http.StatusNotFound, action: fixRequest, title: "Unknown ASPSP",
		detail: "No ASPSP with this id is configured. `GET /v1/aspsps` lists them.",
	},
	canonical.NotFound: {
		status: http.StatusNotFound, action: fixRequest, title: "Not found",
		detail: "There is no endpoint at this path. See `/openapi.yaml`. An `accountId` must be percent-encoded as " +
			"one path segment; there is no trailing slash.",
	},
	canonical.AccountUnknown: {
		status: http.StatusNotFound, action: refreshAccounts, title: "Account not covered by the consent",
		detail: "Read the account list again. If the account is no longer in it, ask the user for a new consent.",
	},
	canonical.MethodNotAllowed: {
		status: http.StatusMethodNotAllowed, action: fixRequest, title: "Method not allowed",
		detail: "`Allow` lists the methods of this endpoint.",
	},
	canonical.RateLimited: {
		status: http.StatusTooManyRequests, action: retryLater, title: "Too many requests",
		detail: "Your client exceeded its request rate. Wait for `Retry-After`. Nothing was sent to the bank, and " +
			"nothing was counted.",
		wait: wait{fromError: true, fallback: time.Second},
	},
	canonical.UnattendedLimit: {
		status: http.StatusTooManyRequests, action: retryAttended, title: "Unattended limit reached",
		detail: "No unattended call is left. " + whilePresent,
		wait:   wait{fromError: true},
	},
	canonical.ProviderThrottled: {
		status: http.StatusTooManyRequests, action: retryLater, title: "Provider rate limit",
		detail: "The provider limits how often the gateway may call it. Retry later, after `Retry-After` if present.",
		wait:   wait{fromError: true},
	},
	canonical.InternalError: {
		status: http.StatusInternalServerError, action: contactSupport, title: "Internal error",
		detail: "The gateway failed; your request is fine. Report the `requestId`.",
	},
	canonical.ProviderRejected: {
		status: http.StatusBadGateway, action: contactSupport, title: "Provider rejected the gateway",
		detail: "The provider did not accept the gateway's credentials or its request. This is not caused by your " +
			"request. Report the `requestId`.",
	},
	canonical.ProviderInvalidResponse: {
		status: http.StatusBadGateway, action: contactSupport, title: "Unusable provider response",
		detail: "The provider's response was unreadable, incomplete or inconsistent, or belonged to another request. " +
			"Nothing of it is shown. Report the `requestId`.",
	},
	canonical.ProviderError: {
		status: http.StatusBadGateway, action: retryLater, title: "Provider error",
		detail: "The provider or the bank failed. Retry later.",
		wait:   wait{fromError: true},
	},
	canonical.ProviderUnavailable: {
		status: http.StatusServiceUnavailable, action: retryLater, title: "Provider unavailable",
		detail: "The provider or the bank is not responding. Retry after `Retry-After`.",
		wait:   wait{fromError: true, fallback: 30 * time.Second},
	},
	canonical.CounterUnavailable: {
		status: http.StatusServiceUnavailable, action: retryAttended, title: "Unattended calls unavailable",
		detail: "Unattended calls cannot be counted at the moment, so none are made. Calls with the user present " +
			"still work.",
		wait: wait{fallback: 5 * time.Second},
	},
	canonical.Overloaded: {
		status: http.StatusServiceUnavailable, action: retryLater, title: "Overloaded",
		detail: "Too many requests in progress (in total, for your client, or for this ASPSP). Retry after `Retry-After`.",
		wait:   wait{fromError: true, fallback: time.Second},
	},
	canonical.DeletionUnconfirmed: {
		status: http.StatusServiceUnavailable, action: retryLater, title: "Deletion not confirmed",
		detail: "The cache could not be reached; cached data may still exist. Repeat the call.",
		wait:   wait{fallback: time.Second},
	},
	canonical.NotCached: {
		status: http.StatusGatewayTimeout, action: fixRequest, title: "Nothing cached",
		detail: "There is no cached account list for this consent. Repeat without `only-if-cached`.",
	},
	canonical.ProviderTimeout: {
		status: http.StatusGatewayTimeout, action: retryLater, title: "Provider timeout",
		detail: "The provider or the bank did not respond in time. Retry later.",
		wait:   wait{fromError: true},
	},
	canonical.NotInTime: {
		status: http.StatusGatewayTimeout, action: retryLater, title: "Not finished in time",
		detail: "The wait time ended before the provider responded. The call continues; repeat with the same `Idempotency-Key`.",
	},
	canonical.AggregationFailed: {
		status: http.StatusBadGateway, action: contactSupport, title: "Aggregation failed",
		detail: "No source (or, with `require: all`, not every source) could be read. See `sources`.",
	},
	canonical.Canceled: {status: StatusCanceled},
}

// StatusCanceled is the status that log and metrics show if the caller closed the connection. It is
// never sent.
const StatusCanceled = 499

// Problem is the JSON of an error response (RFC 9457).
type Problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	Origin    string `json:"origin"`
	Retryable bool   `json:"retryable"`
	Action    string `json:"action"`

	RetryAfter int64 `json:"retryAfterSeconds,omitempty"`

	RequestID string                   `json:"requestId"`
	TraceID   string                   `json:"traceId,omitempty"`
	ASPSP     string                   `json:"aspspId,omitempty"`
	Provider  string                   `json:"provider,omitempty"`
	Needed    *int                     `json:"needed,omitempty"`    // slots that the read needs, if they do not fit
	Remaining *int                     `json:"remaining,omitempty"` // slots that are left in that case
	Errors    []canonical.FieldError   `json:"errors,omitempty"`
	Upstream  *canonical.UpstreamError `json:"providerError,omitempty"`
}

// ProblemContext is what is known of the request that failed.
type ProblemContext struct {
	RequestID, TraceID, ASPSP, Provider string

	Scope      string            // the scope that the endpoint requires
	ReadsUsage bool              // the request reads the usage of the unattended limit
	HasAccount bool              // the request has an account id
	Aggregated bool              // the problem is about a source of an aggregation
	Policy     config.Unattended // of the ASPSP
	Usage      *unattended.Usage // of the unit; nil if it was not read
	Now        func() time.Time
}

// NewProblem returns the problem of e. The kind Canceled has only a status.
func NewProblem(e *canonical.Error, pc ProblemContext) Problem {
	spec := problems[e.Kind]
	action, detail := actionAndDetail(e, pc)
	p := Problem{
		Type:  "/problems/" + strings.ReplaceAll(strings.ToLower(string(e.Kind)), "_", "-"),
		Title: spec.title, Status: spec.status, Detail: detail, Code: string(e.Kind), Origin: string(e.Origin),
		Retryable: action == retryAttended || action == retryLater, Action: action,
		RequestID: pc.RequestID, TraceID: pc.TraceID, ASPSP: pc.ASPSP, Provider: pc.Provider, Errors: e.Faults, Upstream: e.Upstream,
	}
	if p.Retryable {
		p.RetryAfter = retryAfter(e)
	}
	if s := e.Slots; s != nil {
		p.Needed, p.Remaining = &s.Needed, &s.Remaining
	}
	return p
}

// retryAfter returns Retry-After (RFC 9110, section 10.2.3) in whole seconds, rounded up, or 0 for
// no header.
func retryAfter(e *canonical.Error) int64 {
	w := problems[e.Kind].wait
	d := w.fallback
	if w.fromError && e.RetryAfter > 0 {
		d = e.RetryAfter
	}
	return roundUp(d)
}
