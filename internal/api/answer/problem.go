package answer

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"ais-gateway/internal/canonical"
)

// What a caller can do about a problem.
const (
	fixRequest     = "fix_request"
	authenticate   = "authenticate"
	renewConsent   = "renew_consent"
	retryAttended  = "retry_attended"
	retryLater     = "retry_later"
	contactSupport = "contact_support"
)

// statusClosed is what the log shows of a request whose caller went away. Nobody else sees it.
const statusClosed = 499

// A verdict is how a kind of failure is told to callers.
type verdict struct {
	status     int
	action     string
	title      string
	detail     string        // whose fault it is, and what to do
	retryAfter time.Duration // where the failure names none
}

// verdicts is the one table from kinds to problems. A test holds it complete.
var verdicts = map[canonical.Kind]verdict{
	canonical.FormatError: {
		status: http.StatusBadRequest, action: fixRequest, title: "The request is ill-formed",
		detail: "The fault is in the request. Each entry of errors names a header, a path or query parameter, " +
			"and what is wrong with it. Nothing was sent to the provider, and nothing was counted.",
	},
	canonical.Unauthenticated: {
		status: http.StatusUnauthorized, action: authenticate, title: "The caller is not known",
		detail: "The request has no credentials of a configured client, or wrong ones. Give the client's key " +
			"as X-API-Key, or the key or a token that is in force as Authorization with the scheme Bearer.",
	},
	canonical.Forbidden: {
		status: http.StatusForbidden, action: contactSupport, title: "The caller may not make this call",
		detail: "The client is known, but its scopes do not cover the call. Ask those who run the gateway for " +
			"the scope.",
	},
	canonical.ConsentExpired: {
		status: http.StatusForbidden, action: renewConsent, title: "The consent has expired",
		detail: "The consent or the user's token has expired, or the bank wants the user to authenticate " +
			"anew. Have the user renew the consent.",
	},
	canonical.ConsentInvalid: {
		status: http.StatusForbidden, action: renewConsent, title: "The consent is not valid",
		detail: "The provider does not know the consent or the user's token, or it was revoked. Check that " +
			"both belong to this ASPSP, or have the user give a new consent.",
	},
	canonical.ASPSPUnknown: {
		status: http.StatusNotFound, action: fixRequest, title: "No such ASPSP",
		detail: "No ASPSP of this id is configured. GET /v1/aspsps lists those that are.",
	},
	canonical.NotFound: {
		status: http.StatusNotFound, action: fixRequest, title: "No such route",
		detail: "The gateway has nothing under this path. GET /openapi.yaml describes its calls; an accountId " +
			"is one percent-encoded segment of the path.",
	},
	canonical.AccountUnknown: {
		status: http.StatusNotFound, action: renewConsent, title: "No such account under this consent",
		detail: "The account is not one that the consent covers, or no longer. Read the account list again, " +
			"or have the user give a new consent.",
	},
	canonical.MethodNotAllowed: {
		status: http.StatusMethodNotAllowed, action: fixRequest, title: "No such method on this route",
		detail: "The path is right, the method is not. The header Allow names those that are.",
	},
	canonical.RateLimited: {
		status: http.StatusTooManyRequests, action: retryLater, title: "The caller asks too often",
		detail: "The client makes more requests than those who run the gateway let it. Nothing was sent to the " +
			"provider, and nothing was counted. Repeat the call after Retry-After.",
		retryAfter: time.Second,
	},
	canonical.UnattendedLimit: {
		status: http.StatusTooManyRequests, action: retryAttended, title: "No unattended call is left",
		detail: "The bank allows only so many calls without the user, and none is left now. Repeat the call " +
			"with PSU-IP-Address when the user asks, or without the user once Retry-After is over, if it " +
			"is given.",
	},
	canonical.ProviderThrottled: {
		status: http.StatusTooManyRequests, action: retryLater, title: "The provider is asked too often",
		detail: "The provider limits how often the gateway may call it. Repeat the call later, after " +
			"Retry-After if it is given.",
	},
	canonical.InternalError: {
		status: http.StatusInternalServerError, action: contactSupport, title: "A fault of the gateway",
		detail: "The gateway failed; the request is not to blame. Tell those who run it the requestId.",
	},
	canonical.ProviderRejected: {
		status: http.StatusBadGateway, action: contactSupport, title: "The provider refused the gateway",
		detail: "The provider does not accept the gateway's own credentials, or what it sent. The request is " +
			"not to blame. Tell those who run the gateway the requestId.",
	},
	canonical.ProviderInvalidResponse: {
		status: http.StatusBadGateway, action: contactSupport, title: "The provider's answer cannot be used",
		detail: "The provider answered, but unreadably, incompletely, in contradiction to itself or to " +
			"another request. Nothing of it is shown. Tell those who run the gateway the requestId.",
	},
	canonical.ProviderError: {
		status: http.StatusBadGateway, action: retryLater, title: "The provider or the bank failed",
		detail: "The provider or the bank behind it could not answer. Repeat the call later.",
	},
	canonical.ProviderUnavailable: {
		status: http.StatusServiceUnavailable, action: retryLater, title: "The provider cannot be reached",
		detail: "The provider or the bank behind it does not answer at the moment. Repeat the call after " +
			"Retry-After.",
		retryAfter: 30 * time.Second,
	},
	canonical.CounterUnavailable: {
		status: http.StatusServiceUnavailable, action: retryAttended, title: "Unattended calls cannot be counted",
		detail: "The gateway cannot count unattended calls at the moment, and so makes none. Repeat the call " +
			"with PSU-IP-Address when the user asks, or later without the user.",
	},
	canonical.Overloaded: {
		status: http.StatusServiceUnavailable, action: retryLater, title: "Too much at once",
		detail:     "The gateway has too much to do at the moment. Repeat the call after Retry-After.",
		retryAfter: time.Second,
	},
	canonical.DeletionUnconfirmed: {
		status: http.StatusServiceUnavailable, action: retryLater, title: "Deletion not confirmed",
		detail:     "The cache could not be reached; cached data may still exist. Repeat the call.",
		retryAfter: time.Second,
	},
	canonical.NotCached: {
		status: http.StatusGatewayTimeout, action: retryLater, title: "Nothing is kept",
		detail: "Only a kept account list was asked for, and none is kept for this consent. Repeat the call " +
			"without only-if-cached.",
	},
	canonical.ProviderTimeout: {
		status: http.StatusGatewayTimeout, action: retryLater, title: "The provider did not answer in time",
		detail: "The provider or the bank behind it took too long. Repeat the call later.",
	},
	canonical.Canceled: {status: statusClosed},
}

// attendedLimit is the detail of UnattendedLimit where the user was present.
const attendedLimit = "The bank refused a call with the user present because of its limit for calls without the user. " +
	"Repeat the call later, after Retry-After if it is given. Unattended calls are not affected."

// A Problem is what a caller is told of a failure (RFC 9457), ready for JSON.
type Problem struct {
	Type      string    `json:"type"`
	Title     string    `json:"title"`
	Status    int       `json:"status"`
	Detail    string    `json:"detail"`
	Code      string    `json:"code"`
	Origin    string    `json:"origin"`
	Retryable bool      `json:"retryable"`
	Action    string    `json:"action"`
	RequestID string    `json:"requestId"`
	ASPSP     string    `json:"aspspId,omitempty"`
	Provider  string    `json:"provider,omitempty"`
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

// A Subject is whose request failed, as far as it was found out.
type Subject struct {
	RequestID, ASPSP, Provider string
}

// Failure tells of e. For Canceled, which nobody is left to be told of, only the status is of use.
func Failure(e *canonical.Error, of Subject) Problem {
	v := verdicts[e.Kind]
	if e.Kind == canonical.UnattendedLimit && e.Attended {
		v.action, v.detail = retryLater, attendedLimit
	}
	p := Problem{
		Type:  "/problems/" + strings.ReplaceAll(strings.ToLower(string(e.Kind)), "_", "-"),
		Title: v.title, Status: v.status, Detail: v.detail, Code: string(e.Kind), Origin: string(e.Origin),
		Retryable: v.action == retryAttended || v.action == retryLater, Action: v.action,
		RequestID: of.RequestID, ASPSP: of.ASPSP, Provider: of.Provider,
	}
	if e.Detail != "" {
		p.Detail += " More exactly: " + e.Detail + "."
	}
	for _, f := range e.Faults {
		p.Errors = append(p.Errors, fault(f))
	}
	if u := e.Upstream; u != nil {
		p.Upstream = &upstream{u.HTTPStatus, u.Source, u.ReasonCode}
	}
	return p
}

// RetryAfter is the header of that name (RFC 9110, section 10.2.3), in whole seconds; "" where nothing is known of
// when to try again.
func RetryAfter(e *canonical.Error) string {
	wait := e.RetryAfter
	if wait <= 0 {
		wait = verdicts[e.Kind].retryAfter
	}
	if wait <= 0 {
		return ""
	}
	return strconv.FormatInt(roundUp(wait), 10)
}
