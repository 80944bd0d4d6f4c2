/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may meet whom, and which test forces it: a table to read, and a test that it tells the truth
 * about the names.
 *
 * The rows are the meetings that a pager and the VM around it have to survive, then the laws of
 * objects, queues, pagers, faults, races and pressure.  A row without a test that exists is a
 * failure: here for the kernel's own tests; those marked as scripts are looked for by
 * tests/host/test_rooms.py, which knows them.
 */
#include "tests/kernel/ktest.h"

extern const struct ktest ktest_start[], ktest_end[];

#define SCRIPT	"script:"

static const struct row {
	const char	*what;
	const char	*tests[6];	/* "script:...": it runs on the host */
} rows[] = {
	/* one party, the other, and how it must end */
	{ "page-in of a page against a truncation below it: SIGBUS from then on",
	    { "races.pagein_against_truncation_below_the_page" } },
	{ "page-in of the last page against a truncation inside it: zeros behind the end, after the data",
	    { "races.pagein_of_the_eof_page_against_truncation_inside_it" } },
	{ "haspage says data, and before getpages it is a hole: zeros, nothing stale",
	    { "races.file_becomes_a_hole_between_haspage_and_getpages" } },
	{ "page-out against truncation: cut at the new end, blocks freed after the write",
	    { "races.pageout_against_truncation", "mount.forced_while_pages_are_written" } },
	{ "page-out against a store: the second dirt survives",
	    { "races.store_during_pageout_survives", "races.store_during_a_failing_pageout_survives", "swap.store_during_the_write" } },
	{ "page-out against page-in of a neighbour in the same block",
	    { "races.pageout_against_pagein_of_its_neighbour" } },
	{ "extension by write against a mapped reader at the old end",
	    { "races.extension_against_a_mapped_reader_at_the_old_end" } },
	{ "last unmap against a new map: one object for each vnode",
	    { "races.last_unmap_against_a_new_map", "races.last_unmap_of_a_file_without_a_name_against_a_new_map",
	    "pager.a_new_object_waits_for_the_old_ones_end", "object.object_revived_under_its_killer_lives" } },
	{ "forced unmount against faults and page-outs",
	    { "mount.forced_while_a_fault_waits_for_the_disk", "mount.forced_while_pages_are_written" } },
	{ "two faulters on one absent page: one read",
	    { "races.many_faulters_on_one_page_read_it_once", "pager.many_faulters_cause_one_disk_read", "swap.two_faulters_one_read",
	    "fakepager.many_faulters_of_one_page_cause_one_call" } },
	{ "an I/O error against a waiter for the page: each its own try",
	    { "races.after_an_error_the_waiter_tries_for_itself", "pager.disk_error_wakes_all_and_each_gets_its_own",
	    "fakepager.error_wakes_all_and_each_asks_for_itself" } },
	{ "laundry against a vnode that an allocating thread has locked: passed over",
	    { "races.laundry_goes_round_a_locked_vnode", "swap.swapout_thread_passes_over_what_it_should" } },

	/* objects */
	{ "pages by index, in order", { "object.pages_are_found_by_index_as_in_a_sorted_array" } },
	{ "references and the last of them",
	    { "object.last_reference_frees_the_pages_and_no_earlier_one_does", "races.reader_is_the_last_to_use_a_file_without_a_name",
	    "races.laundry_is_the_last_to_use_a_file_without_a_name" } },
	{ "private over shared", { "object.private_window_on_a_shared_object_follows_it_until_it_copies" } },
	{ "a write copies once", { "object.write_copies_a_page_once_and_reads_copy_nothing" } },
	{ "chains of a thousand, without recursion",
	    { "object.chain_of_a_thousand_is_faulted_through_and_released", "object.chain_of_a_thousand_collapses_into_one",
	    "swap.chain_of_depth_1000" } },
	{ "collapse and bypass",
	    { "object.collapse_moves_up_what_is_not_hidden", "object.bypass_goes_past_what_is_wholly_hidden",
	    "swap.collapse_moves_blocks_and_frees_hidden_ones" } },
	{ "collapse with a mapped page", { "object.collapse_with_mapped_pages" } },
	{ "the cache of objects that nobody references", { "object.unreferenced_file_object_rests_with_its_pages" } },
	{ "a random family against a model",
	    { "fork.two_thousand_steps_of_a_family_agree_with_a_model", "swap.random_tree_matches_a_model" } },

	/* queues */
	{ "each move, legal and illegal",
	    { "queue.moves_are_those_of_the_diagram", "queue.every_move_of_a_page_in_use_is_counted",
	    "queue.illegal_move_is_named_and_not_made" } },
	{ "counts are lengths, and the sum of all states is all pages",
	    { "check.every_planted_violation_is_named", "page.free_lists_are_complete_and_disjoint" } },
	{ "first in, first out; staying is no move", { "queue.pages_come_up_in_the_order_they_went_in" } },
	{ "second chance", { "pageout.page_used_since_the_last_look_gets_a_second_chance" } },
	{ "wired and busy pages are left alone",
	    { "queue.wired_page_is_on_none", "fault.wired_pages_survive_reclaim", "pageout.pages_in_use_are_passed_over" } },
	{ "reclaim meets its target, also when all is dirty",
	    { "pageout.thread_wakes_below_the_minimum_and_works_to_the_target", "dirty.target_is_met_with_only_dirty_pages" } },
	{ "the end of memory, and of the disk",
	    { "pageout.end_of_memory_kills_the_fault_and_not_the_machine", "swap.out_of_memory_fails_the_fault_and_nothing_else",
	    "dirty.writer_on_a_full_disk_dies_and_the_machine_lives" } },
	{ "who goes when memory ends",
	    { "oom.the_largest_goes_and_who_asked_goes_on", "oom.who_asks_goes_if_it_is_the_largest",
	    "oom.who_does_not_go_is_not_asked_twice" } },

	/* pagers */
	{ "answers: late, partial, short, in any order",
	    { "fakepager.other_pages_go_on_while_one_waits", "fakepager.short_answer_leaves_the_rest_absent",
	    "fakepager.answers_may_come_in_any_order", "pager.requests_may_end_in_any_order" } },
	{ "an error is told to each who waits", { "fakepager.error_wakes_all_and_each_asks_for_itself" } },
	{ "an error is not sticky", { "fakepager.error_is_not_sticky" } },
	{ "data before the request", { "fakepager.data_before_the_request_is_not_asked_for" } },
	{ "unmapped while the pager works",
	    { "fakepager.unmapped_while_blocked", "pager.unmapped_while_the_disk_reads", "swap.unmapped_while_being_read" } },
	{ "cut off while the pager works",
	    { "races.pagein_against_truncation_below_the_page", "races.pagein_of_the_eof_page_against_truncation_inside_it" } },
	{ "gone while the pager works",
	    { "fakepager.address_space_goes_while_blocked", "pager.address_space_goes_while_the_disk_reads",
	    "swap.process_ends_during_the_write" } },
	{ "each page of a write fares by itself", { "races.each_page_of_a_cluster_fares_by_itself" } },
	{ "clusters end at EOF, object, hole, resident page",
	    { "vnpager.clusters_end_at_eof", "fakepager.clusters_end_where_the_object_ends", "vnpager.clusters_end_at_holes",
	    "vnpager.clusters_end_at_resident_pages" } },
	{ "neighbours come inactive and clean",
	    { "vnpager.neighbours_arrive_inactive_and_clean", "fakepager.neighbours_arrive_inactive_and_clean" } },
	{ "zeros behind EOF, in memory and on disk",
	    { "vnpager.stale_bytes_past_eof_are_never_seen", "ext2w.old_bytes_past_the_end_never_appear",
	    "races.pageout_ends_at_the_end_of_the_file" } },

	/* the vnode pager over ext2 */
	{ "every level of the block map", { "vnpager.offsets_past_2_and_4_gib_and_at_each_level_of_the_map" } },
	{ "holes cost no read", { "vnpager.holes_cause_no_disk_request" } },
	{ "blocks of a quarter page to sixteen pages, and the run of each",
	    { "pager.the_same_bytes_through_all_four_paths", "vnpager.every_file_maps_as_the_host_wrote_it",
	    "script:host.fsx.blocks_of_1024", "script:host.fsx.blocks_of_65536", "script:harness.every_block_size_is_run" } },
	{ "an end that is no multiple of anything",
	    { "fault.end_of_file_is_exact", "vnpager.odd_end_is_read_to_its_last_sector" } },
	{ "a request for each extent", { "vnpager.fragmented_file_costs_one_request_a_run" } },
	{ "read and mapping agree",
	    { "vnpager.reading_and_mapping_agree", "fsx.random_operations_agree_with_the_model",
	    "vnuser.read_write_and_mapping_see_each_other_at_every_edge" } },
	{ "written back by age, by the laundry, by msync, by unmounting",
	    { "ext2w.old_dirt_reaches_the_disk_by_itself", "dirty.target_is_met_with_only_dirty_pages",
	    "dirty.sparse_mapping_on_a_full_disk_waits_for_room", "script:host.fsx.blocks_of_4096" } },
	{ "what was written is whole, and the host reads it",
	    { "fsx.random_operations_agree_with_the_model", "script:host.fsx.blocks_of_4096", "script:host.volumes.defaults" } },
	{ "cut and grown while mapped",
	    { "ext2w.cutting_and_growing_shows_zeros", "wirerace.wired_file_is_cut_and_unlocked" } },
	{ "unlinked while open and mapped",
	    { "ext2w.a_file_without_a_name_lives_while_it_is_used", "wirerace.unlinked_open_file_is_mapped_again" } },
	{ "unreadable data, pointer blocks, read-ahead",
	    { "ioerr.page_asked_for", "ioerr.pointer_block_is_an_error_not_a_hole", "ioerr.page_that_only_read_ahead_touches",
	    "script:host.diskerr.read-data", "script:host.diskerr.read-indirect", "script:host.diskerr.read-inode" } },
	{ "a full disk under a sparse mapping", { "dirty.sparse_mapping_on_a_full_disk_waits_for_room" } },

	/* faults */
	{ "backing, state, protection, access",
	    { "fault.matrix_of_backings_states_protections_and_accesses", "fault.wiring_moves_with_the_copy",
	    "fault.wired_page_below_the_top_is_found_again" } },
	{ "no fault where nobody may sleep", { "script:panic.user_memory_in_an_interrupt", "script:panic.user_memory_under_a_spin_lock" } },
	{ "what is data is not executed", { "pmap.kernel_half_is_never_writable_and_executable",
	    "script:panic.data_is_not_executed", "script:panic.jump_to_user_memory", "script:user.sig_fault" } },
	{ "page tables that the processor refuses", { "pmap.walks_agree_with_the_hardware", "script:panic.damaged_page_tables" } },
	{ "inside copyin and copyout", { "fault.copies_fault_their_pages_in", "fault.copy_that_runs_out_of_its_mapping_names_the_byte" } },
	{ "kernel stacks end in a guard", { "trap.stacks_have_guard_pages", "script:panic.stack_overflow" } },
	{ "no address, no canonical address",
	    { "fault.kernel_addresses_and_non_canonical_ones_are_refused", "trap.general_protection_fault_is_fixed_up" } },
	{ "a fault that repeats in vain is told from one that does not", { "fault.honest_repetition_is_no_livelock",
	    "script:panic.fault_that_never_helps" } },

	/* races in the VM */
	{ "a fault against the taking of its page",
	    { "fault.page_that_goes_while_waited_for_is_looked_up_again", "races.store_during_pageout_survives",
	    "pageout.pages_in_use_are_passed_over" } },
	{ "msync against a store", { "races.store_during_msync_is_for_the_next_one" } },
	{ "two writes that end in the other order", { "races.writes_end_in_the_other_order_and_one_fails" } },
	{ "fork against a fault", { "fault.forked_while_a_private_write_waits" } },
	{ "page-out against unmap and exit",
	    { "races.pageout_against_unmap", "swap.process_ends_during_the_write",
	    "races.laundry_is_the_last_to_use_a_file_without_a_name" } },
	{ "the end of an object against the pager",
	    { "fakepager.last_unmap_waits_for_the_pager", "pager.last_unmap_of_an_uncached_file_waits_for_the_disk" } },
	{ "wiring against changes of the map",
	    { "wirerace.unmapping_waits_for_the_wiring", "wirerace.protecting_waits_for_the_wiring",
	    "wirerace.forking_waits_for_the_wiring", "wirerace.wiring_waits_for_the_wiring_of_another" } },

	/* pressure: the runs, and what they must have reached */
	{ "all of it in little memory, and with nothing that stays", { "pageout.file_is_read_right_when_nothing_stays",
	    "script:harness.suite_runs_in_little_memory_and_under_torture" } },
	{ "a path that no run passed", { "script:harness.path_never_passed_is_red" } },
};

static bool
exists(const char *full)
{
	if (strncmp(full, SCRIPT, sizeof(SCRIPT) - 1) == 0)
		return (true);
	for (const struct ktest *t = ktest_start; t < ktest_end; t++) {
		size_t len = strlen(t->suite);

		if (strncmp(full, t->suite, len) == 0 && full[len] == '.' && streq(full + len + 1, t->name))
			return (true);
	}
	return (false);
}

KTEST(harness, every_meeting_has_its_test)
{
	for (size_t r = 0; r < nitems(rows); r++) {
		CHECK(rows[r].tests[0] != NULL);
		for (size_t i = 0; i < nitems(rows[r].tests) && rows[r].tests[i] != NULL; i++)
			if (!exists(rows[r].tests[i]))
				ktest_fail(__FILE__, __LINE__, "%s: there is no test %s", rows[r].what, rows[r].tests[i]);
	}
}
