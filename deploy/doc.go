// Package deploy contains the files to deploy the gateway: image, chart, dashboards and alerts. Its
// tests check them against the program and the documentation. Tests that need a real Prometheus, a
// collector or a fleet of gateways are in test/deploy. The code reads the dashboards and rules for
// the tests of both packages.
package deploy
