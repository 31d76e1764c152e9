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

// collected is the heap at the begin of a garbage collection, under GODEBUG=gctrace=1.
var collected = regexp.MustCompile(`(?m)^gc \d+ .* (\d+)->\d+->\d+ MB`)

// peak is the largest heap, in MB, that a gateway had at a garbage collection.
func (p *process) peak() int {
	largest := 0
	for _, c := range collected.FindAllStringSubmatch(p.Stderr.String(), -1) {
		mb, err := strconv.Atoi(c[1])
		if err != nil {
			p.T.Fatal(err)
		}
		largest = max(largest, mb)
	}
	return largest
}

// fill repeats a text up to what an answer may have, between a beginning and an end.
func fill(begin, text, end string) string {
	const room = 1 << 20
	return begin + strings.Repeat(text, (room-len(begin)-len(end))/len(text)) + end
}

// A largeAnswer is given once all requests that get it have arrived.
type largeAnswer struct {
	arrived sync.WaitGroup
	body    string
}

func (a *largeAnswer) write(rw http.ResponseWriter) {
	a.arrived.Done()
	a.arrived.Wait()
	rw.Header()["Content-Type"] = nil // none
	rw.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	_, _ = io.WriteString(rw, a.body)
}

// What fifty answers take that come at once and are the worst that there are: as large as they may be, and made of what
// grows most when it is read.
func TestMemoryOfBadAnswers(t *testing.T) {
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
			var now atomic.Pointer[largeAnswer]
			w := gatewaytest.NewSandbox(t, sandbox.Options{Front: func(string, http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					now.Load().write(rw)
				})
			}})
			config := impatient(t, w, 5*time.Minute)
			was := 0
			for _, tt := range []struct {
				name, body string
				status     int
			}{
				{"records", fill(`{"accounts":[`, "{},", "{}]}"), 502},
				{"records in records", fill(`{"accounts":[`, `{"accountPsuRelations":[{},{},{},{},{},{},{},{}]},`, "{}]}"), 502},
				{"lists in lists", fill(`{"x":[`, "[[],[],[],[],[],[],[],[]],", "[]]}"), 502},
				{"deep", fill(``, "[", ""), 502},
				{"one text", fill(`{"accounts":[],"x":"`, "é", `"}`), 200},
				{"one text of escapes", fill(`{"accounts":[{"name":"`, `\u00e9`, `"}]}`), 502},
				{"one text that is shown", fill(`{"accounts":[`+fmt.Sprintf(record[provider][:len(record[provider])-2], 1), `\u00e9`, `"}]}`), 200},
				{"a list as long as can be", `{"accounts":[` + list.String() + fmt.Sprintf(record[provider], 2_600) + `]}`, 200},
			} {
				p := serve(t, config, "GODEBUG=gctrace=1")
				answer := &largeAnswer{body: tt.body}
				answer.arrived.Add(callers)
				now.Store(answer)
				var done sync.WaitGroup
				for range callers {
					consent := uuid.NewString()
					done.Go(func() {
						req, err := http.NewRequest(http.MethodGet, p.API+"/v1/aspsps/"+aspspOf(provider)+"/accounts", nil)
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
							t.Errorf("%s: answered %d %.300s, %v", tt.name, resp.StatusCode, body, err)
						}
					})
				}
				done.Wait()
				mb := p.peak()
				t.Logf("%s: a heap of %d MB for %d answers of %d bytes", tt.name, mb, callers, len(tt.body))
				if was = max(was, mb); mb > bound {
					t.Errorf("%s: %d MB, want no more than %d", tt.name, mb, bound)
				}
			}
			if was == 0 {
				t.Error("nothing was measured")
			}
		})
	}
}

func aspspOf(provider string) string {
	return map[string]string{"mastercard": strings.TrimPrefix(wood, "/v1/aspsps/"), "mypos": sandbox.MyPOS}[provider]
}
