package main

var unattended = board{
	uid: "ais-gateway-unattended", title: "AIS Gateway: Unattended access", from: "now-24h",
	about: "The limit of calls without the user, by the bank's id: how much is used, who runs out, and whether a bank ever said that it was too much. Consents stand in no metric: how one stands says GET …/unattended-access, and its audit records.",
	rows: []row{
		{"Now", []panel{
			{
				title: "Units, by what they have left", kind: columns, width: 16, unit: "none",
				about: "A unit is what has one count: a consent, or as the bank's unit says. Used up: no call until the window has rolled. One left: about to run out. Closed: the bank itself said so.",
				queries: []query{
					{expr: units("used_up"), legend: "used up"},
					{expr: units("last"), legend: "one left"},
					{expr: units("closed"), legend: "closed by the bank"},
				},
			},
			{
				title: "Closed by the bank", kind: number, width: 8, unit: "none", bad: 1,
				about:   "How often a bank said over the time shown that the limit is used up, although the gateway had counted one free. Anything but 0: see AISGatewayOverLimit in docs/runbooks.md, at once.",
				queries: []query{{expr: `sum(increase(ais_unattended_slots_total{` + bank + `,event="closed"}[$__range]))`, legend: "closures"}},
			},
		}},
		{"Slots", []panel{
			event("taken", "Slots taken", "Calls without the user that were counted, each before it left."),
			event("refused", "Slots refused", "Calls that were not made because none was left: the caller got an old list or UNATTENDED_LIMIT. Rising: a caller asks more often than the law allows."),
			event("given_back", "Slots given back", "Counted calls that surely were never sent, because no connection was made. Rising: the bank cannot be reached."),
			event("closed", "Closed by the ASPSP", "The bank said that the limit is used up. This must not happen: somebody else asks under the same consent, Redis has forgotten slots, or the bank counts differently."),
			event("unavailable", "Counter unavailable", "Calls that were not made because they could not be counted: Redis. The caller got an old list or COUNTER_UNAVAILABLE."),
			{
				title: "Share of calls refused", unit: "percentunit",
				about:   "Of all calls without the user that were wanted, the share for which none was left.",
				queries: []query{{expr: share(rated("refused"), `sum by (ais_aspsp_id) (rate(ais_unattended_slots_total{`+bank+`,event=~"taken|refused"}[$__rate_interval]))`), legend: "{{ais_aspsp_id}}"}},
			},
		}},
		{"Aggregations", []panel{
			{
				title: "Sources by outcome", unit: "cps",
				about:   "Sources of aggregations that finished, per second. stale: an old list. partial: not all balances. failed: no accounts. skipped: the calls did not fit into what is left, and none was made. A dry run and a repeat count nothing.",
				queries: []query{{expr: aggregated("sources", "outcome"), legend: "{{outcome}}"}},
			},
			{
				title: "Slots of sources", unit: "reqps",
				about:   "Calls without the user that plans of aggregations need (planned), that were reserved before the first call, that were made (spent), and that were reserved but not made (released). reserved far below planned: callers ask for more than is left.",
				queries: []query{{expr: aggregated("slots", "event"), legend: "{{event}}"}},
			},
		}},
		{"Units", []panel{
			{
				title: "Units used up", unit: "none",
				about:   "Of the whole fleet, as Redis has it. Each is a user whose data cannot be had without him until the window has rolled.",
				queries: []query{{expr: units("used_up"), legend: "{{ais_aspsp_id}}"}},
			},
			{
				title: "Units about to run out", unit: "none",
				about:   "Units with one call left.",
				queries: []query{{expr: units("last"), legend: "{{ais_aspsp_id}}"}},
			},
			{
				title: "Units closed by the ASPSP", unit: "none",
				about:   "Units that a bank has closed, until it said that it opens them again, or a window long.",
				queries: []query{{expr: units("closed"), legend: "{{ais_aspsp_id}}"}},
			},
			{
				title: "Reads that needed no slot", unit: "percentunit",
				about:   "Share of successful reads without the user that needed no call: from the cache, or shared with another. Those for which one was refused are among the others. Low: callers ask with no-cache, or freshFor is short.",
				queries: []query{{expr: share(`sum by (ais_aspsp_id) (rate(ais_unattended_reads_total{`+bank+`,slot="none"}[$__rate_interval]))`, `sum by (ais_aspsp_id) (rate(ais_unattended_reads_total{`+bank+`}[$__rate_interval]))`), legend: "{{ais_aspsp_id}}"}},
			},
		}},
	},
}

// units returns the expression for the number of units in a state. It is a maximum, because every
// gateway reports the number of the whole fleet.
func units(state string) string {
	return `max by (ais_aspsp_id) (ais_unattended_units{` + bank + `,state="` + state + `"})`
}

// rated returns the expression for the rate of an event of slots by ASPSP.
func rated(event string) string {
	return `sum by (ais_aspsp_id) (rate(ais_unattended_slots_total{` + bank + `,event="` + event + `"}[$__rate_interval]))`
}

// aggregated returns the expression for the rate of a counter of aggregations by a label.
func aggregated(counter, label string) string {
	return `sum by (` + label + `) (rate(ais_aggregation_` + counter + `_total{` + bank + `}[$__rate_interval]))`
}

// event returns a panel with the rate of an event of slots.
func event(event, title, about string) panel {
	return panel{title: title, about: about, unit: "reqps", queries: []query{{expr: rated(event), legend: "{{ais_aspsp_id}}"}}}
}
