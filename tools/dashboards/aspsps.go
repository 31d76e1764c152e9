package main

const (
	clientCount  = "http_client_request_duration_seconds_count{" + bank
	clientBucket = "http_client_request_duration_seconds_bucket{" + bank
	// aspspFailed selects the calls that ended with a code that the breaker counts as a failure of
	// the ASPSP: TestASPSPFailures in package deploy compares them. Calls with a 4xx status are left
	// out, because most of them concern one consent.
	aspspFailed = `,error_type=~"PROVIDER_UNAVAILABLE|PROVIDER_TIMEOUT|PROVIDER_ERROR|PROVIDER_INVALID_RESPONSE",http_response_status_code!~"4.."`
)

var aspsps = board{
	uid: "ais-gateway-aspsps", title: "AIS Gateway: ASPSPs", from: "now-6h",
	about: "How each bank does, by its id: metrics have no names. Whose an id is stands in the configuration (aspsps) and at GET /v1/aspsps.",
	rows: []row{
		{"Now", []panel{
			{
				title: "ASPSPs", kind: columns, width: 24, unit: "none",
				about: "Each bank over the last five minutes: calls a second, the share that failed, the slowest twentieth, the breaker (0 closed, 1 half open, 2 open), and the share of old lists.",
				queries: []query{
					{expr: `sum by (ais_aspsp_id) (rate(` + clientCount + `}[5m]))`, legend: "calls/s"},
					{expr: share(`(sum by (ais_aspsp_id) (rate(`+clientCount+aspspFailed+`}[5m])) or 0 * sum by (ais_aspsp_id) (rate(`+clientCount+`}[5m])))`, `sum by (ais_aspsp_id) (rate(`+clientCount+`}[5m]))`), legend: "failed, of 1"},
					{expr: `histogram_quantile(0.95, sum by (ais_aspsp_id, le) (rate(` + clientBucket + `}[5m])))`, legend: "95 %, s"},
					{expr: `max by (ais_aspsp_id) (ais_breaker_state{` + bank + `})`, legend: "breaker"},
					{expr: share(`sum by (ais_aspsp_id) (rate(ais_cache_results_total{`+bank+`,result="stale"}[5m]))`, `sum by (ais_aspsp_id) (rate(ais_cache_results_total{`+bank+`}[5m]))`), legend: "old lists, of 1"},
				},
			},
		}},
		{"Outcome", []panel{
			{
				title: "Calls", unit: "reqps",
				about:   "Calls a second to each bank that were made. While a breaker is open there are nearly none.",
				queries: []query{{expr: `sum by (ais_aspsp_id) (rate(` + clientCount + `}[$__rate_interval]))`, legend: "{{ais_aspsp_id}}"}},
			},
			{
				title: "Share of calls that failed", unit: "percentunit", bad: 0.5,
				about:   "Not reachable, no answer in time, an error or an unreadable answer. One bank: it is the bank. All of a provider: it is the provider, or the way there.",
				queries: []query{{expr: share(`(sum by (ais_aspsp_id) (rate(`+clientCount+aspspFailed+`}[$__rate_interval])) or 0 * sum by (ais_aspsp_id) (rate(`+clientCount+`}[$__rate_interval])))`, `sum by (ais_aspsp_id) (rate(`+clientCount+`}[$__rate_interval]))`), legend: "{{ais_aspsp_id}}"}},
			},
			{
				title: "Calls by what went wrong", unit: "reqps",
				about:   "CONSENT_… and ACCOUNT_UNKNOWN are one user's trouble. PROVIDER_REJECTED on all of a provider: its credentials. UNATTENDED_LIMIT: the bank itself refused, which must not happen.",
				queries: []query{{expr: `sum by (ais_aspsp_id, error_type) (rate(` + clientCount + `,error_type!=""}[$__rate_interval]))`, legend: "{{ais_aspsp_id}} {{error_type}}"}},
			},
			{
				title: "What callers got", unit: "reqps",
				about:   "Requests for each bank that ended with a problem, by its code.",
				queries: []query{{expr: `sum by (ais_aspsp_id, error_type) (rate(` + serverCount + `,ais_aspsp_id!="",error_type!=""}[$__rate_interval]))`, legend: "{{ais_aspsp_id}} {{error_type}}"}},
			},
		}},
		{"Latency", []panel{
			{
				title: "Latency, 95 %", unit: "s",
				about:   "Nineteen of twenty calls to each bank ended in this time. Near the provider's timeout: the bank hangs. Points are single calls, with their trace.",
				queries: []query{{expr: `histogram_quantile(0.95, sum by (ais_aspsp_id, le) (rate(` + clientBucket + `}[$__rate_interval])))`, legend: "{{ais_aspsp_id}}", exemplars: true}},
			},
			{
				title: "Latency by provider and path, 95 %", unit: "s",
				about:   "The same by what is asked of whom. All paths of one provider: look at the way there.",
				queries: []query{{expr: `histogram_quantile(0.95, sum by (ais_provider, url_template, le) (rate(` + clientBucket + `}[$__rate_interval])))`, legend: "{{ais_provider}} {{url_template}}", exemplars: true}},
			},
		}},
		{"Breaker", []panel{
			{
				title: "Breaker", unit: "none", states: []string{"closed", "half open", "open"}, bad: 1,
				about:   "The highest of all gateways. Open: the bank is not called, and callers get an old list or PROVIDER_UNAVAILABLE. Half open: one call tries.",
				queries: []query{{expr: `max by (ais_aspsp_id) (ais_breaker_state{` + bank + `})`, legend: "{{ais_aspsp_id}}"}},
			},
			{
				title: "Breaker opened", unit: "none",
				about:   "How often, in an hour, over all gateways. Many: the bank comes and goes.",
				queries: []query{{expr: `sum by (ais_aspsp_id) (increase(ais_breaker_transitions_total{` + bank + `,state="open"}[1h]))`, legend: "{{ais_aspsp_id}}"}},
			},
		}},
		{"Lists", []panel{
			{
				title: "Share of old lists", unit: "percentunit",
				about:   "Share of account lists that were answered old, because the bank could not be asked or no unattended call was left.",
				queries: []query{{expr: share(`sum by (ais_aspsp_id) (rate(ais_cache_results_total{`+bank+`,result="stale"}[$__rate_interval]))`, `sum by (ais_aspsp_id) (rate(ais_cache_results_total{`+bank+`}[$__rate_interval]))`), legend: "{{ais_aspsp_id}}"}},
			},
			{
				title: "Refused for want of a place", unit: "reqps",
				about:   "Requests that found no place because too many wait for the bank already (server.limits.perASPSP). The bank hangs, or the bound is too low.",
				queries: []query{{expr: `sum by (ais_aspsp_id) (rate(ais_overload_refusals_total{` + bank + `,reason="aspsp"}[$__rate_interval]))`, legend: "{{ais_aspsp_id}}"}},
			},
		}},
	},
}
