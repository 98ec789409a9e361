package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// tracing makes a span of every request, named after its route: no path, no query string, no address, no body, and of
// the headers none but traceparent. Without OTEL_EXPORTER_OTLP_ENDPOINT it does nothing.
type tracing struct {
	provider *sdktrace.TracerProvider
	log      *slog.Logger
}

func startTracing(ctx context.Context, log *slog.Logger) (*tracing, error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return &tracing{}, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, err
	}
	name := []attribute.KeyValue{
		attribute.String("service.name", "curfew"),
		attribute.String("service.version", versionText()),
	}
	// What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say comes last and wins.
	res, err := resource.New(ctx, resource.WithAttributes(name...), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces", "error", err) }))
	return &tracing{provider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(bareExporter{exporter}),
		sdktrace.WithResource(res)), log: log}, nil
}

// said are the attributes that a span may have. otelhttp gives it more: the path, the user agent, the Host header, and
// an address from whatever X-Forwarded-For says.
var said = []attribute.Key{
	"http.request.method", "http.route", "http.response.status_code", "http.request.body.size", "http.response.body.size",
	"url.scheme", "network.protocol.version",
}

// bareExporter sends spans without the attributes that are not in said.
type bareExporter struct{ sdktrace.SpanExporter }

// ExportSpans implements [sdktrace.SpanExporter].
func (e bareExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	bare := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		bare[i] = bareSpan{s}
	}
	return e.SpanExporter.ExportSpans(ctx, bare)
}

type bareSpan struct{ sdktrace.ReadOnlySpan }

// Attributes implements [sdktrace.ReadOnlySpan].
func (s bareSpan) Attributes() []attribute.KeyValue {
	return slices.DeleteFunc(slices.Clone(s.ReadOnlySpan.Attributes()),
		func(a attribute.KeyValue) bool { return !slices.Contains(said, a.Key) })
}

// stop sends what is left, for a bounded time.
func (t *tracing) stop() {
	if t.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("the last traces were not sent", "error", err)
	}
}

// wrap traces a listener. Strangers reach the public one: what their traceparent says is linked, and decides nothing.
func (t *tracing) wrap(next http.Handler, listener string) http.Handler {
	if t.provider == nil {
		return next
	}
	match := routeMatcher(next)
	traced := otelhttp.NewHandler(next, listener,
		otelhttp.WithTracerProvider(t.provider),
		otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithPublicEndpointFn(func(*http.Request) bool { return listener == "public" }),
		otelhttp.WithFilter(func(r *http.Request) bool {
			return r.URL.Path != "/healthz" && r.URL.Path != "/readyz" && r.URL.Path != "/metrics"
		}),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Pattern }),
	)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Pattern = match(r)
		r.Header.Del("Tracestate") // a stranger's text, which the span would carry
		traced.ServeHTTP(w, r)
	})
}

// routeMatcher finds the pattern of a request's route, like "GET /settings/devices/:id", in the form of
// [http.Request.Pattern]: gin does not fill it in, and a span is named before gin has looked.
func routeMatcher(handler http.Handler) func(*http.Request) string {
	type route struct {
		segments []string
		pattern  string
	}
	routes := map[string][]route{}
	if engine, ok := handler.(*gin.Engine); ok {
		for _, r := range engine.Routes() {
			found := route{strings.Split(r.Path, "/"), r.Method + " " + r.Path}
			routes[r.Method] = append(routes[r.Method], found)
		}
	}
	return func(r *http.Request) string {
		best, literal := "unmatched", -1
		segments := strings.Split(r.URL.Path, "/")
		for _, candidate := range routes[r.Method] {
			if n := fits(candidate.segments, segments); n > literal {
				best, literal = candidate.pattern, n
			}
		}
		return best
	}
}

// fits counts the literal segments of a pattern that a path fits; -1 if it does not.
func fits(pattern, path []string) (literal int) {
	if len(pattern) != len(path) {
		return -1
	}
	for i, p := range pattern {
		switch {
		case strings.HasPrefix(p, ":"):
		case p == path[i]:
			literal++
		default:
			return -1
		}
	}
	return literal
}
