package config

import "log/slog"

// LogLevel is the least level that the log shows.
type LogLevel string

// Log says what is logged.
type Log struct {
	Level LogLevel `yaml:"level"` // debug, info, warn or error
}

// levels are the levels that a log can have.
var levels = map[LogLevel]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// Slog returns the level for slog. It is right only for a file without faults.
func (l LogLevel) Slog() slog.Level { return levels[l] }

func (c *checker) log(l Log) {
	_, known := levels[l.Level]
	c.require("log.level", known, "must be debug, info, warn or error")
}
