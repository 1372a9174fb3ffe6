/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd.h: the commands of cowctl: one function each, called once by main() with the operands counted
 * and the options checked.  Each returns the exit status, its errors printed.
 */
#ifndef CLIENT_CMD_H
#define CLIENT_CMD_H

#include "client/ctl.h"
#include "client/out.h"

/* cmd_names.c */
int cmd_create(struct ctl *ctl);
int cmd_mv(struct ctl *ctl);
int cmd_resize(struct ctl *ctl);

/* cmd_attrs.c */
int cmd_set(struct ctl *ctl);
int cmd_get(struct ctl *ctl);
int cmd_unset(struct ctl *ctl);
#define CMD_GET_COLUMNS 2
extern const struct out_column cmd_get_columns[CMD_GET_COLUMNS];

/* cmd_clone.c */
int cmd_clone(struct ctl *ctl);

/* cmd_with.c */
int cmd_with_clone(struct ctl *ctl);

/* cmd_snap.c */
int cmd_snap_add(struct ctl *ctl);
int cmd_snap_rename(struct ctl *ctl);
int cmd_reset(struct ctl *ctl);

/* cmd_rm.c */
int cmd_rm(struct ctl *ctl);
int cmd_snap_rm(struct ctl *ctl);

/* cmd_show.c */
int cmd_ls(struct ctl *ctl);
int cmd_info(struct ctl *ctl);
int cmd_children(struct ctl *ctl);
int cmd_snap_ls(struct ctl *ctl);

/* cmd_tree.c */
int cmd_tree(struct ctl *ctl);
#define CMD_TREE_COLUMNS 7
extern const struct out_column cmd_tree_columns[CMD_TREE_COLUMNS];

/* cmd_space.c */
int cmd_df(struct ctl *ctl);
int cmd_du(struct ctl *ctl);
#define CMD_DF_COLUMNS 16
#define CMD_DU_COLUMNS 4
extern const struct out_column cmd_df_columns[CMD_DF_COLUMNS];
extern const struct out_column cmd_du_columns[CMD_DU_COLUMNS];

/* cmd_server.c */
int cmd_ping(struct ctl *ctl);
int cmd_version(struct ctl *ctl);
int cmd_server(struct ctl *ctl);
int cmd_check(struct ctl *ctl);

/* cmd_map.c */
int cmd_map(struct ctl *ctl);
#define CMD_MAP_COLUMNS	       5
#define CMD_MAP_TOTALS_COLUMNS 6
extern const struct out_column cmd_map_columns[CMD_MAP_COLUMNS];
extern const struct out_column cmd_map_totals_columns[CMD_MAP_TOTALS_COLUMNS];

/* cmd_data.c */
int cmd_cat(struct ctl *ctl);
int cmd_write(struct ctl *ctl);
int cmd_zero(struct ctl *ctl);
int cmd_clone_range(struct ctl *ctl);
int cmd_trim(struct ctl *ctl);

/* cmd_diff.c */
int cmd_diff(struct ctl *ctl);
#define CMD_DIFF_COLUMNS 3
extern const struct out_column cmd_diff_columns[CMD_DIFF_COLUMNS];

/* cmd_compare.c */
int cmd_compare(struct ctl *ctl);

/* cmd_export.c */
int cmd_export_diff(struct ctl *ctl);

/* cmd_import.c */
int cmd_import_diff(struct ctl *ctl);

/* cmd_group.c */
int cmd_fsync(struct ctl *ctl);
int cmd_clone_all(struct ctl *ctl);
int cmd_snap_add_all(struct ctl *ctl); /* of several operands; they name versions */

/* cmd_write_all.c */
int cmd_write_all(struct ctl *ctl);

/* cmd_unshare.c */
int cmd_unshare(struct ctl *ctl);

/* cmd_verify.c */
int cmd_verify(struct ctl *ctl);

/* cmd_cp.c */
int cmd_cp(struct ctl *ctl);

/* cmd_help.c */
int cmd_help(struct ctl *ctl);

#endif
