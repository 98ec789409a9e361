// Package pages is what people see: the sign-in page, the account pages and the console, as HTML.
//
// It holds the templates, the texts in every language, the drawings, one style sheet and one small module, and for each
// page a struct that says what the page takes. It knows no store, no router and no session: a handler fills a struct
// and calls [Pages.Render]. A page has no rule of its own; what may be done is decided behind it.
//
// Every action is a form that works without JavaScript. Nothing is loaded from another host, and nothing is inline, so
// that the policies of [CSP] need no exception.
//
//	templates/  one file a page; layout.html and parts.html are shared by all
//	texts/      one file a language, every text of every page
//	assets/     the style sheet, the module, the mark
package pages
