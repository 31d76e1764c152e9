package main

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"ais-gateway/internal/api"
	"ais-gateway/internal/breaker"
	overload "ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/telemetry"
)

// Each room says what it lets be observed; these pass it on to the one that tells.

type requests struct{ *telemetry.Telemetry }

func (t requests) Request(ctx context.Context, method string, h http.Header) (context.Context, func(api.RequestOutcome)) {
	ctx, end := t.Telemetry.Request(ctx, method, h)
	return ctx, func(o api.RequestOutcome) {
		end(telemetry.RequestInfo{
			Route: o.Route, Method: o.Method, Status: o.Status, Code: o.Code, ASPSP: o.ASPSP, Provider: o.Provider,
			Client: o.Client, Attended: o.Attended, Cache: o.Cache, Duration: o.Duration,
			Waited: o.Waited,
		})
		if served(o) {
			t.Read(ctx, o.ASPSP, o.Slots, o.Refused)
		}
	}
}

func (t requests) Refused(ctx context.Context, aspsp string, by overload.Refusal) {
	t.Telemetry.Refused(ctx, aspsp, string(by))
}

type calls struct{ *telemetry.Telemetry }

func (t calls) Call(ctx context.Context, c upstream.Call) (context.Context, func(int, canonical.Kind)) {
	host, port := c.Host, 0
	if h, p, err := net.SplitHostPort(c.Host); err == nil {
		host = h
		port, _ = strconv.Atoi(p)
	}
	ctx, end := t.Telemetry.Call(ctx, telemetry.Call{
		Provider: c.Provider, ASPSP: c.ASPSP, Method: c.Method, Route: c.Route, ServerAddress: host, ServerPort: port,
		Attended: c.Attended, Resend: c.Resend,
	})
	return ctx, func(status int, k canonical.Kind) { end(status, string(k)) }
}

func (t calls) Slot(ctx context.Context, aspsp string, e upstream.SlotEvent) {
	t.Telemetry.Slot(ctx, aspsp, string(e))
	switch e {
	case upstream.SlotTaken:
		api.CountSlot(ctx, 1)
	case upstream.SlotGivenBack:
		api.CountSlot(ctx, -1)
	case upstream.SlotRefused, upstream.SlotClosed, upstream.SlotUnavailable:
	}
}

type outcomes struct{ *telemetry.Telemetry }

func (t outcomes) Cache(ctx context.Context, aspsp string, r gateway.CacheResult) {
	t.Telemetry.Cache(ctx, aspsp, string(r))
}

func (t outcomes) Refused(ctx context.Context, aspsp string, by overload.Refusal) {
	t.Telemetry.Refused(ctx, aspsp, string(by))
}

func (t outcomes) Waited(ctx context.Context, d time.Duration) { api.CountWait(ctx, d) }

func (t outcomes) Breaker(aspsp string, s breaker.State) { t.Telemetry.Breaker(aspsp, string(s)) }
