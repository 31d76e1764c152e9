// Package deploy holds what the gateway is run with: image, chart, dashboards, alerts, and what they need. Its tests
// hold these files against the program, a real Redis and a real Prometheus; there is no other code here.
package deploy
