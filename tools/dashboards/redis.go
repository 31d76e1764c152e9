package main

const (
	commands = "db_client_operation_duration_seconds_count{" + ours
	took     = "db_client_operation_duration_seconds_bucket{" + ours
	lists    = "ais_cache_results_total{" + bank
)

var redis = board{
	uid: "ais-gateway-redis", title: "AIS Gateway: Cache and Redis", from: "now-6h",
	about: "Redis holds the count of unattended calls, which must not be lost, and account lists, which may be.",
	rows: []row{
		{"Redis", []panel{
			{
				title: "Usable", unit: "none", kind: number, width: 6, states: []string{"no", "yes"}, least: 1,
				about:   "Whether each gateway can write to Redis, as its /readyz has it. No: unattended calls are refused; attended ones go on.",
				queries: []query{{expr: `min by (instance) (ais_redis_usable{` + ours + `})`, legend: "{{instance}}"}},
			},
			{
				title: "May evict", unit: "none", kind: number, width: 6, states: []string{"no", "yes"}, bad: 1,
				about:   "Whether Redis may forget keys when its memory is full, and with them calls that were counted. Yes: set maxmemory-policy noeviction.",
				queries: []query{{expr: `max by (instance) (ais_redis_evicts{` + ours + `})`, legend: "{{instance}}"}},
			},
			{
				title: "Commands", unit: "ops", width: 12,
				about:   "Commands a second to Redis.",
				queries: []query{{expr: `sum by (db_operation_name) (rate(` + commands + `}[$__rate_interval]))`, legend: "{{db_operation_name}}"}},
			},
			{
				title: "Latency, 99 %", unit: "s", bad: 0.1,
				about:   "Ninety-nine of a hundred commands took this long. Beyond 100 ms lists are fetched or refused without the cache; beyond a second unattended calls are refused.",
				queries: []query{{expr: `histogram_quantile(0.99, sum by (db_operation_name, le) (rate(` + took + `}[$__rate_interval])))`, legend: "{{db_operation_name}}", exemplars: true}},
			},
			{
				title: "Errors", unit: "ops",
				about:   "Commands that failed, by what went wrong. A few while Redis fails over are what must be.",
				queries: []query{{expr: `sum by (error_type) (rate(` + commands + `,error_type!~"|noscript"}[$__rate_interval]))`, legend: "{{error_type}}"}},
			},
			{
				title: "Unattended calls that could not be counted", unit: "reqps", width: 24,
				about:   "They were not made. The caller got an old list or COUNTER_UNAVAILABLE.",
				queries: []query{{expr: rated("unavailable"), legend: "{{ais_aspsp_id}}"}},
			},
		}},
		{"Cache", []panel{
			{
				title: "Lists by result", unit: "reqps",
				about:   "Account lists a second: hit, fresh from the cache; miss, fetched; stale, answered old; collapsed, shared with another request; bypass, the caller wanted a call; error, Redis did not answer.",
				queries: []query{{expr: `sum by (result) (rate(` + lists + `}[$__rate_interval]))`, legend: "{{result}}"}},
			},
			{
				title: "Share without a call", unit: "percentunit",
				about:   "Share of account lists for which the bank was not asked: hit or collapsed. Old lists are not among them, since a call that failed may have come before.",
				queries: []query{{expr: share(`sum(rate(`+lists+`,result=~"hit|collapsed"}[$__rate_interval]))`, `sum(rate(`+lists+`}[$__rate_interval]))`), legend: "without a call"}},
			},
			{
				title: "Share of old lists", unit: "percentunit",
				about:   "Share that was answered old. See the board of ASPSPs for whose.",
				queries: []query{{expr: share(`sum(rate(`+lists+`,result="stale"}[$__rate_interval]))`, `sum(rate(`+lists+`}[$__rate_interval]))`), legend: "old"}},
			},
			{
				title: "Share of cache errors", unit: "percentunit", bad: 0.05,
				about:   "Share for which the cache could not be read or written. They were fetched all the same; nothing was kept.",
				queries: []query{{expr: share(`sum(rate(`+lists+`,result="error"}[$__rate_interval]))`, `sum(rate(`+lists+`}[$__rate_interval]))`), legend: "errors"}},
			},
		}},
	},
}
