package verify

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// maxLine bounds a line of the stream, and the data of an event.
const maxLine = 64 << 10

var (
	byteOrderMark = []byte("\ufeff")
	errTooLarge   = errors.New("the stream sends a line or an event that is too large")
)

// eventStream reads a text/event-stream as the HTML standard has it, section 9.2.6. It takes the bytes as they come.
type eventStream struct {
	handle func(kind string, data []byte) error // data is the reader's own, until handle returns
	alive  func()                               // is told of every line

	line    []byte // what has come of a line that is not complete
	afterCR bool   // an LF that comes next belongs to the end of the line before
	begun   bool   // the first line was read, before which there may be a byte order mark
	kind    string
	data    []byte
	retry   time.Duration // how long the server asks to wait before the next request; 0 if it does not
}

// readFrom reads until the stream ends, which is an error like others.
func (s *eventStream) readFrom(in io.Reader) error {
	chunk := make([]byte, 4<<10)
	for {
		n, err := in.Read(chunk)
		if err := s.write(chunk[:n]); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("the stream ended: %w", err)
		}
	}
}

// write takes the next bytes. Lines end with CR LF, LF or CR; a CR ends its line at once, whatever follows.
func (s *eventStream) write(chunk []byte) error {
	for len(chunk) > 0 {
		if s.afterCR {
			s.afterCR = false
			if chunk[0] == '\n' {
				chunk = chunk[1:]
				continue
			}
		}
		end := bytes.IndexAny(chunk, "\r\n")
		piece := chunk
		if end >= 0 {
			piece = chunk[:end]
		}
		if len(s.line)+len(piece) > maxLine {
			return errTooLarge
		}
		if end < 0 {
			s.line = append(s.line, piece...)
			return nil
		}
		s.afterCR, chunk = chunk[end] == '\r', chunk[end+1:]
		line := piece
		if len(s.line) > 0 {
			line = append(s.line, piece...)
			s.line = line[:0]
		}
		if err := s.take(line); err != nil {
			return err
		}
	}
	return nil
}

// take interprets a line.
func (s *eventStream) take(line []byte) error {
	s.alive()
	if !s.begun {
		s.begun = true
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	if len(line) == 0 {
		return s.dispatch()
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) { // id is in the data too
	case "event":
		s.kind = string(value)
	case "data":
		if len(s.data)+len(value) > maxLine {
			return errTooLarge
		}
		s.data = append(append(s.data, value...), '\n')
	case "retry":
		if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
			s.retry = time.Duration(ms) * time.Millisecond
		}
	}
	return nil
}

// dispatch hands an event over at the blank line behind it. One without data is none.
func (s *eventStream) dispatch() (err error) {
	if len(s.data) > 0 {
		err = s.handle(s.kind, s.data[:len(s.data)-1])
	}
	s.kind, s.data = "", s.data[:0]
	return err
}
