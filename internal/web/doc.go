// Package web is what both listeners share: the engine, the caller, the two shapes of an answer that they have in common
// (a problem document, a sign-out), and the metrics. It holds no rule of the domain.
package web
