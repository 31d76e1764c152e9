package answer

import (
	"net/http"
	"strings"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/unattended"
)

// What a caller can do about a problem.
const (
	fixRequest      = "fix_request"
	authenticate    = "authenticate"
	refreshAccounts = "refresh_accounts"
	renewConsent    = "renew_consent"
	retryAttended   = "retry_attended"
	retryLater      = "retry_later"
	contactSupport  = "contact_support"
)

// A verdict is the problem of one kind of failure.
type verdict struct {
	status int
	action string
	title  string
	detail string // unless the situation has a sentence of its own
	wait   wait
}

// A wait is what Retry-After says of a kind.
type wait struct {
	named    bool          // as long as the failure says, if it does
	fallback time.Duration // if it does not; 0 for no header
}

// verdicts is the one table from kinds to problems. A test holds it complete.
var verdicts = map[canonical.Kind]verdict{
	canonical.FormatError: {
		status: http.StatusBadRequest, action: fixRequest, title: "Invalid request",
		detail: "`errors` lists every invalid or missing header and parameter. Nothing was sent to the bank, and " +
			"nothing was counted.",
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
		wait: wait{named: true, fallback: time.Second},
	},
	canonical.UnattendedLimit: {
		status: http.StatusTooManyRequests, action: retryAttended, title: "Unattended limit reached",
		detail: "No unattended call is left. " + whilePresent,
		wait:   wait{named: true},
	},
	canonical.ProviderThrottled: {
		status: http.StatusTooManyRequests, action: retryLater, title: "Provider rate limit",
		detail: "The provider limits how often the gateway may call it. Retry later, after `Retry-After` if present.",
		wait:   wait{named: true},
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
		wait:   wait{named: true},
	},
	canonical.ProviderUnavailable: {
		status: http.StatusServiceUnavailable, action: retryLater, title: "Provider unavailable",
		detail: "The provider or the bank is not responding. Retry after `Retry-After`.",
		wait:   wait{named: true, fallback: 30 * time.Second},
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
		wait:   wait{named: true, fallback: time.Second},
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
		wait:   wait{named: true},
	},
	canonical.Canceled: {status: StatusGone},
}

// StatusGone is what the log and the metrics show of a request whose caller went away. It is never sent.
const StatusGone = 499

// A Problem is what a caller is told of a failure (RFC 9457), ready for JSON.
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

	RequestID string    `json:"requestId"`
	TraceID   string    `json:"traceId,omitempty"`
	ASPSP     string    `json:"aspspId,omitempty"`
	Provider  string    `json:"provider,omitempty"`
	Needed    *int      `json:"needed,omitempty"`    // slots that a read needs, where they do not fit
	Remaining *int      `json:"remaining,omitempty"` // slots that are left then
	Errors    []fault   `json:"errors,omitempty"`
	Upstream  *upstream `json:"providerError,omitempty"`
}

type (
	fault struct {
		In     string `json:"in"`
		Name   string `json:"name"`
		Detail string `json:"detail"`
	}
	upstream struct {
		HTTPStatus int    `json:"httpStatus"`
		Source     string `json:"source,omitempty"`
		ReasonCode string `json:"reasonCode,omitempty"`
	}
)

// A Subject is the request that failed, as far as it is known.
type Subject struct {
	RequestID, TraceID, ASPSP, Provider string

	Scope   string            // that the call requires
	Access  bool              // the request reads the usage of the unattended limit
	Account bool              // the request names an account
	Policy  config.Unattended // of the ASPSP
	Usage   *unattended.Usage // of the unit; nil if it was not read
	Now     func() time.Time
}

// Failure returns the problem of e. For Canceled, which is never sent, only its status is of use.
func Failure(e *canonical.Error, of Subject) Problem {
	v := verdicts[e.Kind]
	action, detail := situation(e, of)
	p := Problem{
		Type:  "/problems/" + strings.ReplaceAll(strings.ToLower(string(e.Kind)), "_", "-"),
		Title: v.title, Status: v.status, Detail: detail, Code: string(e.Kind), Origin: string(e.Origin),
		Retryable: action == retryAttended || action == retryLater, Action: action, RetryAfter: retryAfter(e),
		RequestID: of.RequestID, TraceID: of.TraceID, ASPSP: of.ASPSP, Provider: of.Provider,
	}
	if s := e.Slots; s != nil {
		p.Needed, p.Remaining = &s.Needed, &s.Remaining
	}
	for _, f := range e.Faults {
		p.Errors = append(p.Errors, fault(f))
	}
	if u := e.Upstream; u != nil {
		p.Upstream = &upstream{u.HTTPStatus, u.Source, u.ReasonCode}
	}
	return p
}

// retryAfter is Retry-After (RFC 9110, section 10.2.3) in whole seconds, rounded up; 0 for no such header.
func retryAfter(e *canonical.Error) int64 {
	w := verdicts[e.Kind].wait
	d := w.fallback
	if w.named && e.RetryAfter > 0 {
		d = e.RetryAfter
	}
	return roundUp(d)
}
