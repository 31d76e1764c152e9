package api

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
)

// rawPathHandler makes gin route by the path as the caller wrote it. URL.RawPath is empty if the
// path is its own default encoding (%25, %20); gin would then use the decoded path, and %2541 would
// become A.
type rawPathHandler struct{ next http.Handler }

func (h rawPathHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if escaped := r.URL.EscapedPath(); r.URL.RawPath == "" && escaped != r.URL.Path {
		url := *r.URL
		url.RawPath = escaped
		r = r.WithContext(r.Context()) // a copy, because a handler must not modify the request
		r.URL = &url
	}
	h.next.ServeHTTP(w, r)
}

// engine returns gin with all routes. Handlers return errors to handle; they do not use c.Error.
func (s *server) engine() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.UseRawPath, e.UnescapePathValues = true, false
	e.RedirectTrailingSlash, e.RedirectFixedPath = false, false
	e.HandleMethodNotAllowed = true
	e.NoRoute(s.handle("", fail(canonical.NotFound)))
	e.NoMethod(s.handle("", fail(canonical.MethodNotAllowed)))
	s.routes(e)
	return e
}

func (s *server) routes(e *gin.Engine) {
	route := func(path string, h handler, methods ...string) {
		e.Match(methods, path, s.handle(template(path), h))
	}
	const get, head = http.MethodGet, http.MethodHead
	route("/openapi.yaml", s.contract, get, head)
	route("/v1/aspsps", s.endpoint(endpoint{}, s.aspsps), get, head)
	route("/v1/aspsps/:aspspId", s.endpoint(endpoint{}, s.aspsp), get, head)
	// Routes that read accounts or balances have no HEAD, because it would take a slot.
	route("/v1/aspsps/:aspspId/accounts",
		s.endpoint(endpoint{scope: config.ScopeAccounts, consent: true, read: true, limited: true}, s.accounts), get)
	route("/v1/aspsps/:aspspId/accounts/:accountId/balances",
		s.endpoint(endpoint{scope: config.ScopeBalances, consent: true, read: true, limited: true}, s.balances), get)
	route("/v1/aspsps/:aspspId/unattended-access",
		s.endpoint(endpoint{scope: config.ScopeAccounts, consent: true, limited: true, resourceQuery: true}, s.unattendedAccess), get, head)
	route("/v1/aspsps/:aspspId/cached-data",
		s.endpoint(endpoint{scope: config.ScopeAccounts, consent: true}, s.deleteCachedData), http.MethodDelete)
	route("/v1/aggregations",
		s.endpoint(endpoint{scope: config.ScopeAccounts, read: true, limited: true, aggregates: true}, s.aggregate), http.MethodPost)
}

// Templates returns the path templates of all routes in the form of the contract.
func Templates() []string {
	var all []string
	for _, r := range newServer(Config{}).engine().Routes() {
		all = append(all, template(r.Path))
	}
	return all
}

// template converts gin's path template to the form of the contract: :aspspId becomes {aspspId}.
func template(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if name, ok := strings.CutPrefix(s, ":"); ok {
			segments[i] = "{" + name + "}"
		}
	}
	return strings.Join(segments, "/")
}
