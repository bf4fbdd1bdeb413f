//! Measures what users feel, beside raw hyper, Postgres and Redis in the same run.
