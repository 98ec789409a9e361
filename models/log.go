package models

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// queryLogger is GORM's logger, but for what is no error of the database: a statement that was given up because nobody
// waits for it any more (a client that hung up, a node that stops), a name that is taken, and what is simply run again.
type queryLogger struct{ logger.Interface }

// LogMode implements [logger.Interface].
func (l queryLogger) LogMode(level logger.LogLevel) logger.Interface {
	return queryLogger{l.Interface.LogMode(level)}
}

// Trace implements [logger.Interface].
func (l queryLogger) Trace(ctx context.Context, begin time.Time, fc func() (string, int64), err error) {
	if err != nil && (errors.Is(ctx.Err(), context.Canceled) || errors.Is(err, gorm.ErrDuplicatedKey) || lostRace(err) ||
		stalePlan(err)) {
		return
	}
	l.Interface.Trace(ctx, begin, fc, err)
}

// ParamsFilter keeps values out of the log; GORM asks the outermost logger for it.
func (l queryLogger) ParamsFilter(_ context.Context, sql string, _ ...any) (string, []any) {
	return sql, nil
}
