//go:build !unix

package models

func lowerPriority() {}
