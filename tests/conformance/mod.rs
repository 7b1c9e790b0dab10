//! What the daemon, kubectl and the chart rely on, as cases for any API server: the fast tier runs them against the in-memory API,
//! the live tier against a real kube-apiserver, the newest and the oldest. Each case makes its own objects in a namespace of its own.

pub(crate) mod apply;
pub(crate) mod asks;
pub(crate) mod custom;
pub(crate) mod ground;
pub(crate) mod kinds;
pub(crate) mod old;
pub(crate) mod patch;
pub(crate) mod read;
pub(crate) mod scale;
pub(crate) mod watch;
pub(crate) mod write;

/// Hands every case, by room, to a macro that makes tests of them: so no tier can leave one out unseen.
macro_rules! every_case {
    ($tests:ident) => {
        $tests! {
            apply: a_conflict_names_the_other_manager, a_dropped_field_goes_unless_another_holds_it,
                conflicts_are_listed_by_manager, dropped_items_and_labels_go, a_misfit_is_refused_before_anything_else,
                an_apply_creates_and_repeats_without_a_write, a_status_apply_owns_its_fields_alone,
                an_untracked_object_has_an_owner_before_the_first_apply, stale_and_foreign_applies_are_refused;
            scale: an_apply_to_scale_owns_replicas, a_number_nobody_owns_is_somebodys_before_the_first_apply,
                a_plain_zero_leaves_the_number_to_nobody, a_scale_shows_replicas_and_selector,
                a_stale_scale_is_refused, a_custom_scale_takes_the_same_number_by_apply_and_no_other,
                a_custom_scale_is_patched_and_recorded, a_custom_scale_without_a_number_is_an_error;
            custom: a_definition_is_established_and_discovered, defaults_are_filled_in_and_unknown_fields_go,
                each_bound_refuses_in_its_own_words, rules_refuse_in_their_own_words, a_transition_is_judged_by_what_was,
                spec_and_status_are_written_apart, only_a_changed_spec_is_a_new_generation, a_wrong_kind_is_refused,
                columns_are_printed_as_defined;
            write: a_name_is_taken_once, a_name_is_made_up_from_its_stem, a_stale_update_is_refused, a_foreign_uid_is_refused,
                a_dry_run_changes_nothing, a_delete_holds_to_its_preconditions, finalizers_hold_an_object,
                a_missing_namespace_is_named, nonsense_is_refused_with_words, an_update_that_changes_nothing_is_no_write,
                plain_writers_own_what_they_change;
            patch: merge_patches_remove_with_null, a_merge_patch_holds_to_its_revision, json_patches_test_before_they_write, a_json_patch_holds_to_its_revision, containers_are_merged_by_name,
                directives_delete_and_order, custom_kinds_take_no_strategic_patch;
            read: pages_show_one_moment, selectors_choose, metadata_alone_is_served, tables_have_their_columns,
                wrong_lists_are_refused, discovery_names_every_kind, a_revision_to_come_is_too_large;
            watch: a_watch_follows_from_a_revision, leaving_a_selection_is_a_deletion, an_initial_list_ends_with_a_bookmark,
                a_bookmark_carries_the_revision, a_metadata_watch_follows;
            asks: stores_are_filled_and_followed, namespaces_are_followed_by_their_metadata,
                nodes_and_what_their_makers_say_are_followed,
                objects_that_hold_a_lever_are_followed_and_read,
                what_is_not_there_yet_is_asked_for_by_name, a_stateful_set_is_scaled_without_force_first,
                a_status_is_written_over_what_was_seen_and_an_event_is_told,
                a_disruption_budget_is_made_changed_and_goes_by_its_uid, a_pod_goes_as_it_was_seen_and_with_its_grace,
                room_is_kept_by_what_is_told_by_its_label,
                jobs_are_made_of_a_template_under_names_that_are_taken_once, kubectl_applies_and_edits_by_four_kinds_of_patch,
                kubectl_prints_what_it_watches, kubectl_finds_out_what_there_is;
            kinds: a_lease_changes_hands, an_event_has_two_faces, a_deployment_is_defaulted_and_checked,
                a_stateful_set_keeps_its_identity, reviews_are_answered;
        }
    };
}
pub(crate) use every_case;
