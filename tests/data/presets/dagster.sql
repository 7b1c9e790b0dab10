-- Tables of Dagster 1.13.27 as its instance makes them in PostgreSQL: read by the live tests of the preset.
CREATE TABLE runs (
  id BIGSERIAL NOT NULL,
  run_id VARCHAR(255),
  snapshot_id VARCHAR(255),
  pipeline_name TEXT,
  mode TEXT,
  status VARCHAR(63),
  run_body TEXT,
  partition TEXT,
  partition_set TEXT,
  create_timestamp TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP,
  update_timestamp TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP,
  start_time DOUBLE PRECISION,
  end_time DOUBLE PRECISION,
  backfill_id VARCHAR(255),
  CONSTRAINT runs_pkey PRIMARY KEY (id),
  CONSTRAINT runs_run_id_key UNIQUE NULLS DISTINCT (run_id)
);
CREATE INDEX idx_run_partitions ON runs (partition_set, partition);
CREATE INDEX idx_run_range ON runs (status, update_timestamp, create_timestamp);
CREATE INDEX idx_run_status ON runs (status);
CREATE INDEX idx_runs_by_backfill_id ON runs (backfill_id, id);
CREATE INDEX idx_runs_by_job ON runs (pipeline_name, id);
CREATE TABLE pending_steps (
  id BIGSERIAL NOT NULL,
  concurrency_key TEXT NOT NULL,
  run_id TEXT,
  step_key TEXT,
  priority INTEGER,
  assigned_timestamp TIMESTAMP WITHOUT TIME ZONE,
  create_timestamp TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT pending_steps_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX idx_pending_steps ON pending_steps (concurrency_key, run_id, step_key);
CREATE TABLE concurrency_slots (
  id BIGSERIAL NOT NULL,
  concurrency_key TEXT NOT NULL,
  run_id TEXT,
  step_key TEXT,
  deleted BOOLEAN NOT NULL,
  create_timestamp TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT concurrency_slots_pkey PRIMARY KEY (id)
);
CREATE TABLE concurrency_limits (
  id BIGSERIAL NOT NULL,
  concurrency_key VARCHAR(512) NOT NULL,
  "limit" INTEGER NOT NULL,
  using_default_limit BOOLEAN DEFAULT false NOT NULL,
  update_timestamp TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP,
  create_timestamp TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT concurrency_limits_pkey PRIMARY KEY (id),
  CONSTRAINT concurrency_limits_concurrency_key_key UNIQUE NULLS DISTINCT (concurrency_key)
);
