-- Tables of Airflow 3.3.2 as `airflow db migrate` leaves them in PostgreSQL, without foreign keys: read by the live tests of the preset.
CREATE TABLE task_instance (
  id UUID NOT NULL,
  task_id VARCHAR(250) NOT NULL,
  dag_id VARCHAR(250) NOT NULL,
  run_id VARCHAR(250) NOT NULL,
  map_index INTEGER DEFAULT '-1'::integer NOT NULL,
  start_date TIMESTAMP WITH TIME ZONE,
  end_date TIMESTAMP WITH TIME ZONE,
  duration DOUBLE PRECISION,
  state VARCHAR(20),
  try_number INTEGER NOT NULL,
  max_tries INTEGER DEFAULT '-1'::integer NOT NULL,
  hostname VARCHAR(1000),
  unixname VARCHAR(1000),
  pool VARCHAR(256) NOT NULL,
  pool_slots INTEGER NOT NULL,
  queue VARCHAR(256),
  priority_weight INTEGER,
  operator VARCHAR(1000),
  custom_operator_name VARCHAR(1000),
  queued_dttm TIMESTAMP WITH TIME ZONE,
  scheduled_dttm TIMESTAMP WITH TIME ZONE,
  queued_by_job_id INTEGER,
  last_heartbeat_at TIMESTAMP WITH TIME ZONE,
  pid INTEGER,
  executor VARCHAR(1000),
  executor_config BYTEA,
  updated_at TIMESTAMP WITH TIME ZONE,
  rendered_map_index VARCHAR(250),
  context_carrier JSONB,
  span_status VARCHAR(250) DEFAULT 'not_started'::character varying NOT NULL,
  external_executor_id TEXT,
  trigger_id INTEGER,
  trigger_timeout TIMESTAMP WITH TIME ZONE,
  next_method VARCHAR(1000),
  next_kwargs JSONB,
  task_display_name VARCHAR(2000),
  dag_version_id UUID,
  retry_delay_override DOUBLE PRECISION,
  retry_reason VARCHAR(500),
  CONSTRAINT task_instance_pkey PRIMARY KEY (id),
  CONSTRAINT task_instance_composite_key UNIQUE NULLS DISTINCT (dag_id, task_id, run_id, map_index)
);
CREATE INDEX ti_dag_run ON task_instance (dag_id, run_id);
CREATE INDEX ti_dag_state ON task_instance (dag_id, state);
CREATE INDEX ti_dag_version_id ON task_instance (dag_version_id);
CREATE INDEX ti_heartbeat ON task_instance (last_heartbeat_at);
CREATE INDEX ti_pool ON task_instance (pool, state, priority_weight);
CREATE INDEX ti_state ON task_instance (state);
CREATE INDEX ti_state_lkp ON task_instance (dag_id, task_id, run_id, state);
CREATE INDEX ti_trigger_id ON task_instance (trigger_id);
CREATE TABLE slot_pool (
  id SERIAL NOT NULL,
  pool VARCHAR(256),
  slots INTEGER NOT NULL,
  description TEXT,
  include_deferred BOOLEAN NOT NULL,
  team_name VARCHAR(50),
  CONSTRAINT slot_pool_pkey PRIMARY KEY (id),
  CONSTRAINT slot_pool_pool_uq UNIQUE NULLS DISTINCT (pool)
);
