"""Pictures on their way to training: processes that read, what they may take, what stays in memory."""
