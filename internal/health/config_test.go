package health

import (
	"strings"
	"testing"

	"ais-gateway/internal/config"
)

func TestFileLimitWarning(t *testing.T) {
	c := &config.Config{
		Server:    config.Server{Limits: config.Limits{InFlight: 1000}},
		Providers: map[string]config.Provider{"mastercard": {}, "mypos": {}},
	}
	const needed = 4*1000 + 64 + 1000 + 2*64 + 200
	if got := filesNeeded(c); got != needed {
		t.Errorf("%d files are needed, want %d", got, needed)
	}
	if got := fileLimitWarning(c, needed); got != "" {
		t.Errorf("a limit of as many files as are needed: %q", got)
	}
	if got := fileLimitWarning(c, 1024); !strings.Contains(got, "5392") || !strings.Contains(got, "1024") || !strings.Contains(got, "RLIMIT_NOFILE") {
		t.Errorf("got %q", got)
	}
	c.Server.Limits.InFlight = 100
	if got := fileLimitWarning(c, 1024); got != "" {
		t.Errorf("with fewer requests in flight: %q", got)
	}
}
