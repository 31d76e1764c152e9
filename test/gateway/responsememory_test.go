package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/sandbox"
)

// gcStartHeap matches a line that GODEBUG=gctrace=1 prints. Its group is the heap in MB at the
// start of the collection.
var gcStartHeap = regexp.MustCompile(`(?m)^gc \d+ .* (\d+)->\d+->\d+ MB`)

// peakHeapMB returns the largest heap that the gateway had at the start of a garbage collection.
func (p *process) peakHeapMB() int {
	largest := 0
	for _, c := range gcStartHeap.FindAllStringSubmatch(p.Stderr.String(), -1) {
		mb, err := strconv.Atoi(c[1])
		if err != nil {
			p.T.Fatal(err)
		}
		largest = max(largest, mb)
	}
	return largest
}

// fillBody returns a body of the maximum size: text, repeated between begin and end.
func fillBody(begin, text, end string) string {
	const maxSize = 1 << 20
	return begin + strings.Repeat(text, (maxSize-len(begin)-len(end))/len(text)) + end
}

// largeResponse is a response that is sent when all requests for it have arrived.
type largeResponse struct {
	arrived sync.WaitGroup
	body    string
}

func (a *largeResponse) write(rw http.ResponseWriter) {
	a.arrived.Done()
	a.arrived.Wait()
	rw.Header()["Content-Type"] = nil // send no Content-Type
	rw.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	_, _ = io.WriteString(rw, a.body)
}

// TestMemoryOfBadResponses: fifty concurrent responses of the maximum size, with content that needs
// much memory when it is decoded, keep the heap below the bound.
func TestMemoryOfBadResponses(t *testing.T) {
	const callers, bound = 50, 512
	record := map[string]string{
		"mastercard": `{"resourceId":"%d","name":"` + strings.Repeat("x", 370) + `"}`,
		"mypos":      `{"accountNumber":"%d","name":"` + strings.Repeat("x", 360) + `"}`,
	}
	for _, provider := range []string{"mastercard", "mypos"} {
		t.Run(provider, func(t *testing.T) {
			var list strings.Builder
			for i := range 2_600 {
				fmt.Fprintf(&list, record[provider]+",", i)
			}
			var current atomic.Pointer[largeResponse]
			w := gatewaytest.NewSandbox(t, sandbox.Options{Front: func(string, http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					current.Load().write(rw)
				})
			}})
			config := withProviderTimeout(t, w, 5*time.Minute)
			maxMB := 0
			for _, tt := range []struct {
				name, body string
				status     int
			}{
				{"records", fillBody(`{"accounts":[`, "{},", "{}]}"), 502},
				{"records in records", fillBody(`{"accounts":[`, `{"accountPsuRelations":[{},{},{},{},{},{},{},{}]},`, "{}]}"), 502},
				{"lists in lists", fillBody(`{"x":[`, "[[],[],[],[],[],[],[],[]],", "[]]}"), 502},
				{"deep", fillBody(``, "[", ""), 502},
				{"one string", fillBody(`{"accounts":[],"x":"`, "é", `"}`), 200},
				{"one string of escapes", fillBody(`{"accounts":[{"name":"`, `\u00e9`, `"}]}`), 502},
				{"one string that is returned", fillBody(`{"accounts":[`+fmt.Sprintf(record[provider][:len(record[provider])-2], 1), `\u00e9`, `"}]}`), 200},
				{"the longest list", `{"accounts":[` + list.String() + fmt.Sprintf(record[provider], 2_600) + `]}`, 200},
			} {
				p := serve(t, config, "GODEBUG=gctrace=1")
				resp0 := &largeResponse{body: tt.body}
				resp0.arrived.Add(callers)
				current.Store(resp0)
				var done sync.WaitGroup
				for range callers {
					consent := uuid.NewString()
					done.Go(func() {
						req, err := http.NewRequest(http.MethodGet, p.API+"/v1/aspsps/"+aspspID(provider)+"/accounts", nil)
						if err != nil {
							panic(err)
						}
						req.Header = http.Header{"X-Api-Key": {sandbox.Key}, "Consent-Id": {consent}, "Provider-Authorization": {"Bearer " + mypossim.GoodToken}}
						resp, err := http.DefaultClient.Do(req)
						if err != nil {
							t.Error(err)
							return
						}
						defer resp.Body.Close()
						body, err := io.ReadAll(resp.Body)
						if err != nil || resp.StatusCode != tt.status {
							t.Errorf("%s: status %d, want %d: %.300s, %v", tt.name, resp.StatusCode, tt.status, body, err)
						}
					})
				}
				done.Wait()
				mb := p.peakHeapMB()
				t.Logf("%s: a heap of %d MB for %d responses of %d bytes", tt.name, mb, callers, len(tt.body))
				if maxMB = max(maxMB, mb); mb > bound {
					t.Errorf("%s: a heap of %d MB, want at most %d", tt.name, mb, bound)
				}
			}
			if maxMB == 0 {
				t.Error("no garbage collection was measured")
			}
		})
	}
}

// aspspID returns the id of an ASPSP behind a provider.
func aspspID(provider string) string {
	return map[string]string{"mastercard": strings.TrimPrefix(woodPath, "/v1/aspsps/"), "mypos": sandbox.MyPOS}[provider]
}
