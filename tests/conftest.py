from hypothesis import HealthCheck, settings

# How long an example takes says nothing on cores that other work shares.
settings.register_profile("shared cores", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared cores")
