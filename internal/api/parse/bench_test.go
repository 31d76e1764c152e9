package parse_test

import (
	"net/http"
	"testing"

	"ais-gateway/internal/api/parse"
)

// BenchmarkHeaders parses the headers of an attended request with all that callers usually send.
func BenchmarkHeaders(b *testing.B) {
	h := http.Header{}
	for name, value := range map[string]string{
		"Accept": "application/json", "User-Agent": "caller/1.0", "X-API-Key": "a-key-of-43-characters-as-openssl-makes-it-",
		"X-Request-ID": "0c8e7f2a-4b6d-4e19-a3d5-7f1b2c3d4e5f", "Consent-ID": "5b1c9a52-7d0e-4c3b-8f57-0a6de2c41b90",
		"Provider-Authorization": "Bearer bGlrZS1hLXRva2Vu.ZS1vZi1teVBPUw",
		"PSU-IP-Address":         "203.0.113.7", "PSU-User-Agent": "Mozilla/5.0 (X11; Linux x86_64)",
	} {
		h.Set(name, value)
	}
	for b.Loop() {
		key, isBearer, faults := parse.Credential(h)
		id, idFaults := parse.RequestID(h)
		got, headerFaults := parse.Headers(h, true, false)
		if key == "" || isBearer || id == "" || got.Query.PSU == nil || len(faults)+len(idFaults)+len(headerFaults) != 0 {
			b.Fatal(faults, idFaults, headerFaults)
		}
	}
}
