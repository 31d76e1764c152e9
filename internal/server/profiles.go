package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strconv"
)

// maxProfile is how many seconds a client may have a profile recorded. pprof extends the write
// timeout by these seconds.
const maxProfile = 60

// handleProfiles adds Go's profiles: stacks, memory, processor time and execution traces, without
// data of requests. Those that are recorded for some time end early when ctx ends.
func handleProfiles(ctx context.Context, mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", recorded(ctx, pprof.Index))
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", recorded(ctx, pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", recorded(ctx, pprof.Trace))
}

// recorded returns a handler that ends profile when ctx ends, and responds 400 if the request's
// parameter seconds is not from 1 to maxProfile.
func recorded(ctx context.Context, profile http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if value := r.FormValue("seconds"); value != "" {
			if seconds, err := strconv.Atoi(value); err != nil || seconds < 1 || seconds > maxProfile {
				writeJSON(w, http.StatusBadRequest, map[string]string{"error": fmt.Sprintf("seconds must be a whole number from 1 to %d", maxProfile)})
				return
			}
		}
		recording, end := context.WithCancel(r.Context())
		defer end()
		defer context.AfterFunc(ctx, end)()
		profile(w, r.WithContext(recording))
	}
}
