package main

const (
	serverCount  = "http_server_request_duration_seconds_count{" + bank
	serverBucket = "http_server_request_duration_seconds_bucket{" + bank
)

var service = board{
	uid: "ais-gateway-service", title: "AIS Gateway: Service", from: "now-6h",
	about: "What callers get: how much, how well, how fast, and what the gateways have left. Begin here.",
	rows: []row{
		{"What was promised", []panel{
			{
				title: "Availability", kind: number, width: 6, unit: "percentunit", least: 0.999,
				about:   "Share of requests that the gateway itself did not fail, over the time shown. Promised: 99.9 %. What the caller got wrong is not counted, and a bank's failure is not the gateway's. Below it see Errors by code.",
				queries: []query{{expr: "1 - " + share(`(sum(increase(http_server_request_duration_seconds_count{`+ours+`,`+routes+`,`+own+`}[$__range])) or vector(0))`, `sum(increase(http_server_request_duration_seconds_count{`+ours+`,`+routes+`,`+meant+`}[$__range]))`), legend: "available"}},
			},
			{
				title: "Answered within 2.5 s", kind: number, width: 6, unit: "percentunit", least: 0.99,
				about:   "Share of successful answers that took 2.5 s at most, over the time shown. Promised: 99 %. A bank's time is in it: see Latency by route, then the board of ASPSPs.",
				queries: []query{{expr: share(`sum(increase(http_server_request_duration_seconds_bucket{`+ours+`,`+routes+`,error_type="",le="2.5"}[$__range]))`, `sum(increase(http_server_request_duration_seconds_count{`+ours+`,`+routes+`,error_type=""}[$__range]))`), legend: "in time"}},
			},
			{
				title: "Gateways", kind: number, width: 6, unit: "none",
				about:   "How many gateways Prometheus reaches now. Fewer than there should be: see the platform; what a gateway said last stands in its log.",
				queries: []query{{expr: `sum(up{` + ours + `})`, legend: "up"}},
			},
			{
				title: "Versions", kind: number, width: 6, unit: "none",
				about:   "Gateways by version. Two for longer than an upgrade takes: the upgrade hangs.",
				queries: []query{{expr: `count by (service_version) (target_info{` + ours + `,service_name="ais-gateway"})`, legend: "{{service_version}}"}},
			},
		}},
		{"Rate", []panel{
			{
				title: "Requests by route", unit: "reqps",
				about:   "Requests a second. A route that falls to nothing: callers cannot reach the gateway, or no longer ask.",
				queries: []query{{expr: `sum by (http_route) (rate(` + serverCount + `}[$__rate_interval]))`, legend: "{{http_route}}"}},
			},
			{
				title: "Answers by status", unit: "reqps",
				about:   "Answers a second. 4xx is the caller's, the consent's or the limit's, 5xx the gateway's or the provider's; 499 are callers who went away.",
				queries: []query{{expr: `sum by (http_response_status_code) (rate(` + serverCount + `}[$__rate_interval]))`, legend: "{{http_response_status_code}}"}},
			},
		}},
		{"Errors", []panel{
			{
				title: "Errors by code", unit: "reqps",
				about:   "Problems a second by their code. Each code, and what to do, is in docs/api.md under Problems.",
				queries: []query{{expr: `sum by (error_type) (rate(` + serverCount + `,error_type!=""}[$__rate_interval]))`, legend: "{{error_type}}"}},
			},
			{
				title: "Errors by origin", unit: "reqps",
				about: "Who said no. The gateway for the request's sake: the caller must mend it. The gateway for its own: act. UNATTENDED_LIMIT is counted by slots: refused before the call, or said by the bank, which must not happen; an old list may have been answered all the same.",
				queries: []query{
					{expr: failed(byRequest), legend: "gateway: the request"},
					{expr: failed(byGateway), legend: "gateway: itself"},
					{expr: slots("refused"), legend: "gateway: UNATTENDED_LIMIT"},
					{expr: failed(byProvider), legend: "provider"},
					{expr: failed(byASPSP), legend: "aspsp"},
					{expr: slots("closed"), legend: "aspsp: UNATTENDED_LIMIT"},
				},
			},
		}},
		{"Latency", []panel{
			{
				title: "Latency by route, 95 %", unit: "s",
				about:   "Nineteen of twenty requests were answered in this time, from arrival to the end of the answer. Points are single requests, with their trace.",
				queries: []query{{expr: `histogram_quantile(0.95, sum by (http_route, le) (rate(` + serverBucket + `}[$__rate_interval])))`, legend: "{{http_route}}", exemplars: true}},
			},
			{
				title: "Latency by route, half", unit: "s",
				about:   "Half of the requests were answered in this time. Where this rises with the other, all are slow; where it does not, some banks are.",
				queries: []query{{expr: `histogram_quantile(0.5, sum by (http_route, le) (rate(` + serverBucket + `}[$__rate_interval])))`, legend: "{{http_route}}", exemplars: true}},
			},
			{
				title: "Within, and at providers", unit: "s", width: 24,
				about: "The mean time of a request, and that of a call to a provider. Where the first rises alone, the gateway, its Redis or its processor is slow.",
				queries: []query{
					{expr: share(`sum(rate(http_server_request_duration_seconds_sum{`+bank+`}[$__rate_interval]))`, `sum(rate(`+serverCount+`}[$__rate_interval]))`), legend: "request"},
					{expr: share(`sum(rate(http_client_request_duration_seconds_sum{`+bank+`}[$__rate_interval]))`, `sum(rate(http_client_request_duration_seconds_count{`+bank+`}[$__rate_interval]))`), legend: "call to a provider"},
				},
			},
		}},
		saturation,
		soundness,
	},
}

var saturation = row{"Saturation", []panel{
	{
		title: "Requests under way", unit: "none",
		about: "Of each gateway, and how many it lets in at once (server.limits.inFlight). At the bound further ones are answered OVERLOADED.",
		queries: []query{
			{expr: `sum by (instance) (http_server_active_requests{` + ours + `})`, legend: "{{instance}}"},
			{expr: `max by (instance) (ais_overload_limit{` + ours + `,reason="in_flight"})`, legend: "bound of {{instance}}"},
		},
	},
	{
		title: "Places taken", unit: "percentunit", bad: 0.8,
		about:   "The same as a share. Above 80 % for long: more gateways, or find out which bank hangs.",
		queries: []query{{expr: share(`sum by (instance) (http_server_active_requests{`+ours+`})`, `max by (instance) (ais_overload_limit{`+ours+`,reason="in_flight"})`), legend: "{{instance}}"}},
	},
	{
		title: "Refused for want of a place", unit: "reqps",
		about:   "By the bound that was met: in_flight, too many in all; client, one caller asks too much; aspsp, a bank hangs.",
		queries: []query{{expr: `sum by (reason) (rate(ais_overload_refusals_total{` + bank + `}[$__rate_interval]))`, legend: "{{reason}}"}},
	},
	{
		title: "Memory", unit: "bytes",
		about: "As the kernel sees it, what Go uses of it, and GOMEMLIMIT. Close to the limit the collector takes the processor; beyond the container's, the process is killed.",
		queries: []query{
			{expr: `sum by (instance) (process_resident_memory_bytes{` + ours + `})`, legend: "{{instance}}"},
			{expr: `sum by (instance) (go_memory_used_bytes{` + ours + `})`, legend: "Go, {{instance}}"},
			{expr: `max by (instance) (go_memory_limit_bytes{` + ours + `})`, legend: "limit of {{instance}}"},
		},
	},
	{
		title: "Processor", unit: "percentunit",
		about:   "Share of the processors that the gateway may use (GOMAXPROCS). Above 80 % latency rises: more gateways.",
		queries: []query{{expr: share(`sum by (instance) (rate(process_cpu_seconds_total{`+ours+`}[$__rate_interval]))`, `max by (instance) (go_processor_limit{`+ours+`})`), legend: "{{instance}}"}},
	},
	{
		title: "Goroutines and descriptors", unit: "none",
		about: "Both follow the requests under way. Where they only grow, something leaks: restart the gateway, and report it.",
		queries: []query{
			{expr: `sum by (instance) (go_goroutine_count{` + ours + `})`, legend: "goroutines, {{instance}}"},
			{expr: `sum by (instance) (process_open_fds{` + ours + `})`, legend: "descriptors, {{instance}}"},
		},
	},
}}

var soundness = row{"Secrets and records", []panel{
	{
		title: "Certificates end in", unit: "s", kind: number, least: 30 * 24 * 60 * 60,
		about:   "Time until the first certificate of each part ends: a provider's name for those that it is shown, server_tls for the API's. Under 30 days: renew.",
		queries: []query{{expr: `min by (part) (ais_certificate_not_after_seconds{` + ours + `}) - time()`, legend: "{{part}}"}},
	},
	{
		title: "Secrets that cannot be used", unit: "none", states: []string{"in use", "stale"}, bad: 1,
		about:   "1 while what stands in a part's files cannot be used, so that older secrets are. The log says why, and so does gateway check.",
		queries: []query{{expr: `max by (part) (ais_secrets_stale{` + ours + `})`, legend: "{{part}}"}},
	},
	{
		title: "Restarts", unit: "none",
		about:   "How often each gateway has started anew within an hour, while its address stayed.",
		queries: []query{{expr: `max by (instance) (changes(process_start_time_seconds{` + ours + `}[1h]))`, legend: "{{instance}}"}},
	},
	{
		title: "Audit records and telemetry", unit: "none",
		about: "Audit records that were lost, and attributes that telemetry dropped because nothing allows them, within an hour. Both should be none.",
		queries: []query{
			{expr: `sum(increase(ais_audit_failures_total{` + ours + `}[1h]))`, legend: "audit records lost"},
			{expr: `sum(increase(ais_telemetry_dropped_total{` + ours + `}[1h]))`, legend: "attributes dropped"},
		},
	},
}}

// share returns the expression for part divided by whole, which has no value if whole has none.
func share(part, whole string) string { return part + " / " + whole }
