package config

import "log/slog"

// LogLevel is the minimum level of the log.
type LogLevel string

// Log configures the log.
type Log struct {
	Level LogLevel `yaml:"level"` // debug, info, warn or error
}

// levels maps the levels of the configuration to those of slog.
var levels = map[LogLevel]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// Slog returns the level for slog. It is valid only for a configuration without faults.
func (l LogLevel) Slog() slog.Level { return levels[l] }

func (c *checker) log(l Log) {
	_, known := levels[l.Level]
	c.require("log.level", known, "must be debug, info, warn or error")
}
