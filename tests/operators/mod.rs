//! The operators of the data world, played: their definitions with the fields that matter, and one who works for each as the real one
//! does, and notes when it was made to do harm. The fast tier runs the cases on the in-memory API, the live tier on a real one; a
//! daemon watches the namespace of each case.

pub(crate) mod argo;
pub(crate) mod definitions;
pub(crate) mod flink;
pub(crate) mod numaflow;
pub(crate) mod ray;
pub(crate) mod scales;
pub(crate) mod spark;
pub(crate) mod yard;

/// Hands every case, by operator, to a macro that makes tests of them.
macro_rules! every_operator {
    ($tests:ident) => {
        $tests! {
            spark: an_application_is_let_go_once_and_never_suspended_again, a_run_is_left_alone_and_the_next_has_more_executors,
                dynamic_allocation_gets_a_ceiling_above_its_floor;
            flink: a_native_job_gets_a_ceiling_and_never_restarts, a_native_job_without_autoscaler_is_left_alone,
                a_reactive_job_gets_task_managers;
            ray: a_group_is_moved_within_its_bounds_and_no_other, what_rays_autoscaler_owns_is_left_alone;
            numaflow: a_vertex_is_moved_once_its_own_autoscaler_is_off;
            argo: two_semaphores_of_one_config_map_get_slots, a_namespace_is_never_without_limit,
                a_hand_is_taken_over_once_and_then_named;
            scales: a_rollout_is_moved_by_its_scale, a_connector_without_selector_is_moved_by_its_scale;
        }
    };
}
pub(crate) use every_operator;
