// Package web is what the two listeners share and must not import from each other. It holds no rule of the domain.
//
// [NewEngine] makes a gin engine that names, logs, measures and answers every request, also one that nobody expects; a
// [Policy] is the headers of a group of routes. [Authenticate] lets living access tokens through (RFC 6750), and
// [CallerFrom] is whose it was.
//
// A handler is a [HandlerFunc]: it reads its input, calls one method of the store, and returns what [OK], [Created],
// [NoContent] or [SignedOut] return, or an error. [Handle] writes the error, as a problem document (RFC 9457), in one
// place: [ProblemOf] knows the store's errors, a [Problem] is an answer already, and anything else is 500, logged, and
// tells nothing.
//
// Input is read strictly, in one way each: [BindJSON] a body, [Query] the parameters, [QueryPage] those of a list,
// [QueryWait] those of a sign-out. What is unknown, doubled, empty or no text is refused.
package web
