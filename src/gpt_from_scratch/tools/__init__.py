"""Commands for maintenance: doctor, resource estimates, cleaning, profiling, the reproduce check."""
