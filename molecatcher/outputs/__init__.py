"""Where events go to by themselves: webhooks, syslog, Splunk, and people by e-mail or chat."""
