package models

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm/logger"
)

// queryLogger is GORM's logger, but for statements that were given up because nobody waits for them any more: a client
// that hung up, a node that stops. They are no error of the database.
type queryLogger struct{ logger.Interface }

// LogMode implements [logger.Interface].
func (l queryLogger) LogMode(level logger.LogLevel) logger.Interface {
	return queryLogger{l.Interface.LogMode(level)}
}

// Trace implements [logger.Interface].
func (l queryLogger) Trace(ctx context.Context, begin time.Time, fc func() (string, int64), err error) {
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	l.Interface.Trace(ctx, begin, fc, err)
}

// ParamsFilter keeps values out of the log; GORM asks the outermost logger for it.
func (l queryLogger) ParamsFilter(_ context.Context, sql string, _ ...any) (string, []any) {
	return sql, nil
}
