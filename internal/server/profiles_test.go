package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// deadlineRecorder is a response that records its write deadline.
type deadlineRecorder struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (w *deadlineRecorder) SetWriteDeadline(t time.Time) error {
	w.deadline = t
	return nil
}

// A profile has the write timeout after its end, so it may take longer than the write timeout. The
// requests have ended when they come in, so that the profiles end immediately.
func TestProfilesHaveTheirOwnDeadline(t *testing.T) {
	s, err := Listen(t.Context(), Config{
		Address: "127.0.0.1:0", AdminAddress: "127.0.0.1:0", API: http.NotFoundHandler(), Metrics: http.NotFoundHandler(),
		WriteTimeout: 12 * time.Second, Profiling: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ctx, end := context.WithCancel(context.WithValue(t.Context(), http.ServerContextKey, s.admin.http))
	end()
	for path, want := range map[string]time.Duration{
		"profile": 42 * time.Second, "profile?seconds=30": 42 * time.Second, "profile?seconds=60": 72 * time.Second,
		"trace?seconds=5": 17 * time.Second, "heap?seconds=30": 42 * time.Second,
	} {
		w, begin := &deadlineRecorder{ResponseRecorder: httptest.NewRecorder()}, time.Now()
		s.admin.http.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/debug/pprof/"+path, http.NoBody).WithContext(ctx))
		if w.deadline.Before(begin.Add(want)) || w.deadline.After(time.Now().Add(want)) {
			t.Errorf("%s: the response must end within %v, want %v; status %d", path, w.deadline.Sub(begin), want, w.Code)
		}
	}
}

// A profile takes at most a minute.
func TestSecondsOfProfiles(t *testing.T) {
	for query, want := range map[string]int{
		"": 200, "?seconds=": 200, "?seconds=1": 200, "?seconds=60": 200, "?debug=1": 200,
		"?seconds=61": 400, "?seconds=0": 400, "?seconds=-1": 400, "?seconds=1e9": 400, "?seconds=0.5": 400, "?seconds=NaN": 400,
		"?seconds=9223372036854775808": 400, "?seconds=a": 400, "?seconds=61&seconds=1": 400,
	} {
		w, served := httptest.NewRecorder(), false
		recorded(t.Context(), func(http.ResponseWriter, *http.Request) { served = true })(w,
			httptest.NewRequest(http.MethodGet, "/debug/pprof/profile"+query, http.NoBody))
		if w.Code != want || served != (want == http.StatusOK) {
			t.Errorf("%q: %d %s", query, w.Code, w.Body)
		}
	}
}
