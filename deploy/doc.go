// Package deploy holds what the gateway is run with: image, chart, dashboards, alerts, and what
// they need. Its tests check these files against the program and the documentation. Tests that need
// a real Prometheus, a collector or a fleet of gateways are in test/deploy. The only code here
// reads the dashboards and rules, for both.
package deploy
