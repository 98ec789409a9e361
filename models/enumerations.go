package models

// Reasons are all reasons that a revocation may have, for whoever checks a filter.
var Reasons = []Reason{
	ReasonSignedOut, ReasonRevoked, ReasonSignedInAgain, ReasonReuse, ReasonTooManyDevices, ReasonPasswordChanged,
	ReasonAdminRemoved, ReasonUserDisabled, ReasonUserDeleted, ReasonClientDeleted, ReasonCodeReuse, ReasonParentSignedOut,
}

// AuditTypes are all types of audit events, likewise.
var AuditTypes = []string{
	AuditSignedIn, AuditSignedInAgain, AuditRevoked, AuditReplay, AuditRetried, AuditAdminRefused, AuditDeviceRenamed,
	AuditPasswordChanged, AuditUserCreated, AuditUserChanged, AuditUserDisabled, AuditUserEnabled, AuditUserDeleted,
	AuditClientCreated, AuditClientChanged, AuditClientSecret, AuditClientDeleted, AuditKeysRotated, AuditSubscriberDeleted,
	AuditWrongPassword, AuditLimitReached, AuditUserUnlocked, AuditCodeReuse, AuditRenewed,
	AuditWebhookCreated, AuditWebhookSecret, AuditWebhookDeleted, AuditNoticesDropped,
}
