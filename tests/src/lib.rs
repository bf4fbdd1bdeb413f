//! Drives the real binary over real PostgreSQL and Redis, with real faults.
