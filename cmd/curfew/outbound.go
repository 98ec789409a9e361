package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"curfew/internal/notify"
	"curfew/internal/web"
)

// setNetworks reads networks, each in the one form of its first address.
func setNetworks(field func(*config) *[]netip.Prefix) setter {
	return func(c *config, value string) error {
		var list []netip.Prefix
		for _, text := range strings.Split(value, ",") {
			p, err := netip.ParsePrefix(strings.TrimSpace(text))
			if err != nil || p != p.Masked() || p.Addr().Is4In6() {
				return fmt.Errorf("%q is not a network like 10.0.0.0/8 or fd00::/8", text)
			}
			list = append(list, p)
		}
		*field(c) = list
		return nil
	}
}

// outboundClient makes the requests to webhooks and to clients' back-channel logout URIs.
func (c *config) outboundClient() *notify.Client {
	return notify.NewClient(notify.ClientConfig{Allow: c.outboundAllow, UserAgent: "curfew/" + versionText()})
}

// startNotifier tells webhooks and clients of what happens.
func (n *node) startNotifier(metrics *web.Metrics) *notify.Notifier {
	notifier := notify.Start(notify.Config{
		Store: n.store, Issuer: n.cfg.store.Issuer, Client: n.cfg.outboundClient(), Logger: n.log,
		Version: versionText(),
	})
	n.closers = append(n.closers, notifier.Close)
	for i, kind := range notify.Kinds {
		labels := prometheus.Labels{"kind": kind}
		metrics.Counter("curfew_notices_total", "Notices that a webhook or a client's back-channel logout URI has taken.",
			labels, notifier.Stats.Told[i].Load)
		metrics.Counter("curfew_notice_failures_total", "Tries that were not answered 2xx.", labels,
			notifier.Stats.Failed[i].Load)
		metrics.Counter("curfew_notices_dropped_total", "Events that were too old when their receiver could be told.", labels,
			notifier.Stats.Dropped[i].Load)
	}
	metrics.Gauge("curfew_receivers", "Receivers that this node tells.", func() float64 {
		all, _ := notifier.Receivers()
		return float64(all)
	})
	metrics.Gauge("curfew_receivers_failing", "Of these, who did not take the last notice.", func() float64 {
		_, failing := notifier.Receivers()
		return float64(failing)
	})
	metrics.Gauge("curfew_receivers_behind_seconds", "How long ago the oldest event happened that one has to be told of.",
		func() float64 { return notifier.Behind().Seconds() })
	return notifier
}
