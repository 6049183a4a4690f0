/* The order of a migration, checked by spin over every interleaving, with a crash between any two steps.
 *
 * An application changes rows; capture writes its changes to the log; migrate goes through snapshot, load and apply, and
 * starts again from its checkpoint after a crash. When the application has stopped and the log is drained, the target must
 * be map(source). README.md says what is modelled, what is not, and what each broken variant (#ifdef) does wrong.
 */

#define ROWS 2
#define ITEMS 2  /* a chunk of the snapshot is the rows of one item: chunks are aligned to the group key */
#ifndef CHANGES
#define CHANGES 3
#endif
#ifndef CRASHES
#define CRASHES 1
#endif

/* With LETTERS defined, the load makes dead letters of rows of item 0, which are settled later; and a transaction is in
 * the binlog before the engine shows it to readers. A run of its own, since both multiply the states.
 *
 * With PARALLEL defined, a batch of two changes is two stretches, which two workers write at once. A run of its own, too.
 */

/* A row is absent, or belongs to an item and has one of two contents. */
#define ABSENT 0
#define ROW(item, content) (1 + 2 * (item) + (content))
#define ITEM(row) (((row) - 1) / 2)
#define CONTENT(row) (((row) - 1) % 2)
#define IS_IN(row, item) ((row) != ABSENT && ITEM(row) == (item))

/* An entry of an item is absent, or has the content of its row. */
#define NO_ENTRY 0
#define ENTRY(row) (1 + CONTENT(row))
#define AT(item, row) ((item) * ROWS + (row))

/* ---- the source: its rows, and its binlog with full row images ---- */
byte source[ROWS];
byte changes = 0;
byte changed_row[CHANGES];
byte before[CHANGES];
byte after[CHANGES];
bool ready = false;           /* the source has its first rows */
#ifdef LETTERS
byte shown[ROWS];             /* what readers see */
byte unseen[ROWS];            /* the last change of each row, counted from 1, while readers do not see it; else 0 */
#define SHOWN(row) shown[row]
#define IS_SHOWN(row) (unseen[row] == 0)
#define IS_SHOWN_UP_TO(row, change) (unseen[row] == 0 || unseen[row] > change)
#else
#define SHOWN(row) source[row]
#define IS_SHOWN(row) true
#endif

/* ---- durable: the log, the export files, the checkpoint, the target ---- */
mtype = { NEW, SNAPSHOT, LOAD, APPLY };
byte logged = 0;              /* captured and synced up to here; counted like the binlog */
byte pruned = 0;              /* the log's beginning */
byte exported[ITEMS * ROWS];  /* what each chunk's file says of each row */
mtype phase = NEW;            /* the checkpoint: phase, loaded, applied */
bool loaded[ITEMS];
byte applied = 0;
bool exists[ITEMS];
byte entry[ITEMS * ROWS];
#ifdef LETTERS
bool letter = false;
#endif

/* ---- lost in a crash ---- */
byte read[ITEMS];             /* how many rows each chunk's SELECT has read; with the last one its file is durable */
byte at = 0;                  /* applied up to here */
byte until = 0;               /* the batch being applied is at .. until */
mtype = { NONE, UPDATE_ITEM, DELETE_ITEM };
mtype todo[ITEMS] = NONE;
#define KEEP 0
#define REMOVE 1
#define SET(row) (1 + ENTRY(row))
byte fold[ITEMS * ROWS];      /* the batch, folded: the outcome for each entry */
#ifdef PARALLEL
mtype todo_next[ITEMS] = NONE;  /* likewise for the second stretch */
byte fold_next[ITEMS * ROWS];
#endif
#ifdef LETTERS
byte reread = 0;              /* how many rows of the letter's item are read again */
byte now[ROWS];               /* and what they are */
bool put = false;             /* and the item is written */
#endif

byte crashes = 0;
bool lost = false;            /* the file of a chunk, before it was loaded */
byte i, j;                    /* only within a d_step, 0 outside */

#ifdef CAPTURE_FROM_NOW
bool missed[CHANGES];
#define IS_MISSED(change) missed[change]
#else
#define IS_MISSED(change) false
#endif

/* Schedules: with one of these defined spin must find that it happens, so that the proof is not about nothing. */
#ifdef SNAPSHOT_READS_ROW_AFTER_CHANGE
bool changed[ROWS];           /* since capture began */
#endif
#ifdef GROUP_IS_EMPTIED_AND_REFILLED
bool emptied[ITEMS];
#endif

inline change_row(r, value) {
    d_step {
#ifdef SNAPSHOT_READS_ROW_BEFORE_CHANGE
        assert(!(source[r] != ABSENT && exported[AT(ITEM(source[r]), r)] == source[r]));
#endif
#ifdef ROW_MOVES_BETWEEN_GROUPS_DURING_ITS_CHUNK
        assert(!(source[r] != ABSENT && value != ABSENT && ITEM(source[r]) != ITEM(value)
                 && read[ITEM(source[r])] > r && read[ITEM(source[r])] < ROWS));
#endif
#ifdef SNAPSHOT_READS_ROW_AFTER_CHANGE
        changed[r] = changed[r] || phase != NEW;
#endif
#ifdef ROW_IS_CHANGED_WHILE_ITS_LETTER_IS_SETTLED
        assert(!(reread > r && IS_IN(now[r], 0)));
#endif
        changed_row[changes] = r;
        before[changes] = source[r];
        after[changes] = value;
        source[r] = value;
#ifdef LETTERS
        unseen[r] = changes + 1;
#endif
        changes++
    }
}

/* Inserts, updates in place, moves a row to the other item, deletes. */
inline change_any(r) {
    if
    :: source[r] == ABSENT -> change_row(r, ROW(0, 0))
    :: source[r] == ABSENT -> change_row(r, ROW(1, 0))
    :: source[r] != ABSENT -> change_row(r, ROW(ITEM(source[r]), 1 - CONTENT(source[r])))
    :: source[r] != ABSENT -> change_row(r, ROW(1 - ITEM(source[r]), 1 - CONTENT(source[r])))
    :: source[r] != ABSENT -> change_row(r, ABSENT)
    fi
}

active proctype application() {
    atomic {
        /* any rows to begin with; the other cases are these with rows or items exchanged */
        if
        :: skip
        :: source[0] = ROW(0, 0)
        :: source[0] = ROW(0, 0); source[1] = ROW(0, 0)
        :: source[0] = ROW(0, 0); source[1] = ROW(1, 0)
#ifdef LETTERS
        :: source[0] = ROW(1, 0)  /* only item 0 has letters, so the items are not alike */
#endif
        fi;
#ifdef LETTERS
        shown[0] = source[0]; shown[1] = source[1];
#endif
        ready = true
    }
    do
    :: atomic { changes < CHANGES && IS_SHOWN(0) -> change_any(0) }  /* a row is locked until its change is shown */
    :: atomic { changes < CHANGES && IS_SHOWN(1) -> change_any(1) }
#ifdef LETTERS
    :: d_step { !IS_SHOWN(0) -> shown[0] = source[0]; unseen[0] = 0 }
    :: d_step { !IS_SHOWN(1) -> shown[1] = source[1]; unseen[1] = 0 }
#endif
    :: atomic { changes == CHANGES && IS_SHOWN(0) && IS_SHOWN(1) -> break }
    od
}

/* Appends what the binlog has after the log's end and syncs it. Readers see only what is synced, so that is one step. */
active proctype capture() {
end:
    do
    :: atomic { phase != NEW && logged < changes -> logged++ }
    od
}

#define MAY_CRASH if :: crashes < CRASHES -> crashes++; goto crash :: skip fi

/* What is not read any more is forgotten, which keeps the states few. */
inline forget_changes(from, to) {
    for (i : from + 1 .. to) { changed_row[i - 1] = 0; before[i - 1] = ABSENT; after[i - 1] = ABSENT }
    i = 0
}

/* What is before the start must be seen by every later reader (mysql/visible.py). */
inline begin_capture() {
    d_step {
#ifndef START_NOT_SHOWN
        IS_SHOWN(0) && IS_SHOWN(1);
#endif
        logged = changes;
        applied = changes;
        pruned = changes;
        at = changes;
        forget_changes(0, changes);
        phase = SNAPSHOT
    }
}

inline read_row(chunk) {
    d_step {
#ifdef SNAPSHOT_READS_ROW_AFTER_CHANGE
        assert(!(changed[read[chunk]] && IS_IN(SHOWN(read[chunk]), chunk)));
#endif
        exported[AT(chunk, read[chunk])] = (IS_IN(SHOWN(read[chunk]), chunk) -> SHOWN(read[chunk]) : ABSENT);
        read[chunk]++
    }
}

/* The chunks at the same time, and the rows of each at different times: no consistent snapshot is needed. */
inline snapshot() {
    do
    :: atomic { read[0] < ROWS -> read_row(0); MAY_CRASH }
    :: atomic { read[1] < ROWS -> read_row(1); MAY_CRASH }
    :: atomic { read[0] == ROWS && read[1] == ROWS -> break }
    od
}

/* One PutItem with all entries of the chunk's rows; a chunk without rows makes no item. */
inline put_item(chunk) {
    d_step {
        if
        :: exported[AT(chunk, 0)] != ABSENT || exported[AT(chunk, 1)] != ABSENT ->
            exists[chunk] = true;
            for (i : 0 .. ROWS - 1) {
                entry[AT(chunk, i)] = (exported[AT(chunk, i)] != ABSENT -> ENTRY(exported[AT(chunk, i)]) : NO_ENTRY)
            }
        :: else
        fi;
        i = 0
    }
}

inline lose_file(chunk) {
    d_step {
        lost = true;
        read[chunk] = 0;
        for (i : 0 .. ROWS - 1) { exported[AT(chunk, i)] = ABSENT }
        i = 0
    }
}

#ifdef LETTERS
/* The item without one of its rows, or, refused, not at all. */
inline put_in_part() {
    if
    :: exported[AT(0, 0)] != ABSENT && exported[AT(0, 1)] != ABSENT ->
        exists[0] = true; entry[AT(0, 0)] = NO_ENTRY; entry[AT(0, 1)] = ENTRY(exported[AT(0, 1)])
    :: exported[AT(0, 0)] != ABSENT && exported[AT(0, 1)] != ABSENT ->
        exists[0] = true; entry[AT(0, 1)] = NO_ENTRY; entry[AT(0, 0)] = ENTRY(exported[AT(0, 0)])
    :: exported[AT(0, 0)] != ABSENT || exported[AT(0, 1)] != ABSENT
    fi
}
#endif

/* A chunk of the plan without its file is read again, as in the snapshot; the other chunk is this one exchanged. */
inline read_again(chunk) {
#ifdef MISSING_CHUNK_LEFT_OUT
    loaded[chunk] = true
#else
    read_row(chunk)
#endif
}

/* The checkpoint says that a chunk is loaded only after its items are written, and the letters of what could not be. */
inline load() {
    do
    :: atomic { !loaded[0] && read[0] == ROWS -> put_item(0); MAY_CRASH }; atomic { loaded[0] = true; MAY_CRASH }
    :: atomic { !loaded[1] -> put_item(1); MAY_CRASH }; atomic { loaded[1] = true; MAY_CRASH }
#ifdef LETTERS
    :: atomic { !loaded[0] && (exported[AT(0, 0)] != ABSENT || exported[AT(0, 1)] != ABSENT) -> put_in_part(); MAY_CRASH };
       atomic { letter = true; MAY_CRASH };
       atomic { loaded[0] = true; MAY_CRASH }
#else
    :: atomic { !loaded[0] && read[0] < ROWS -> read_again(0); MAY_CRASH }
    :: atomic { !lost && !loaded[0] && read[0] == ROWS -> lose_file(0) }
#endif
    :: atomic { loaded[0] && loaded[1] -> break }
    od
}

inline begin_apply() {
    d_step {
        phase = APPLY;
#ifndef LOADED_AGAIN_AFTER_APPLY
        for (i : 0 .. ITEMS * ROWS - 1) { exported[i] = ABSENT }
#endif
        i = 0
    }
}

/* The changes first .. last as one operation for each item at most: the last change of a row decides. */
inline fold_changes(first, last) {
    d_step {
        for (i : first .. last) {
            j = i - 1;
            if
            :: IS_MISSED(j)
            :: else ->
#ifdef OLD_KEY_FORGOTTEN
                if
                :: before[j] != ABSENT && after[j] == ABSENT ->
#else
                if
                :: before[j] != ABSENT && (after[j] == ABSENT || ITEM(before[j]) != ITEM(after[j])) ->
#endif
                    fold[AT(ITEM(before[j]), changed_row[j])] = REMOVE;
                    todo[ITEM(before[j])] = UPDATE_ITEM
                :: else
                fi;
                if
                :: after[j] != ABSENT ->
                    fold[AT(ITEM(after[j]), changed_row[j])] = SET(after[j]);
                    todo[ITEM(after[j])] = UPDATE_ITEM
                :: else
                fi
            fi
        }
        i = 0; j = 0
    }
}

#ifdef PARALLEL
inline fold_batch() {
    fold_changes(at + 2, until);
    d_step {
        for (i : 0 .. ITEMS - 1) {
            todo_next[i] = todo[i];
            todo[i] = NONE;
            for (j : 0 .. ROWS - 1) {
                fold_next[AT(i, j)] = fold[AT(i, j)];
                fold[AT(i, j)] = KEEP
            }
        }
        i = 0; j = 0
    };
    fold_changes(at + 1, at + 1)
}

/* An item that both stretches write: the first one has written it. */
inline take_turn(item) {
    d_step {
        todo[item] = todo_next[item];
        todo_next[item] = NONE;
        for (i : 0 .. ROWS - 1) {
            fold[AT(item, i)] = fold_next[AT(item, i)];
            fold_next[AT(item, i)] = KEEP
        }
        i = 0
    }
}

#ifdef WITHOUT_TURNS
/* The second stretch writes the item first. */
inline write_out_of_turn(item) {
    d_step {
        for (i : 0 .. ROWS - 1) {
            j = fold[AT(item, i)];
            fold[AT(item, i)] = fold_next[AT(item, i)];
            fold_next[AT(item, i)] = j
        }
        i = 0; j = 0
    }
}
#endif

#define IS_NEXT(item) (todo[item] == NONE && todo_next[item] == UPDATE_ITEM)
#define ARE_DONE (todo[0] == NONE && todo[1] == NONE && todo_next[0] == NONE && todo_next[1] == NONE)
#else
#define fold_batch() fold_changes(at + 1, until)
#define ARE_DONE (todo[0] == NONE && todo[1] == NONE)
#endif

/* UpdateItem: sets and removes entries. When it only removes, it does nothing to an item that does not exist (its
 * condition), and the item as it is afterwards (ALL_NEW) says whether to delete it because no entry is left. */
inline update_item(item) {
    d_step {
        todo[item] = NONE;
        j = (fold[AT(item, 0)] > REMOVE || fold[AT(item, 1)] > REMOVE);
        if
        :: exists[item] || j ->
#ifdef GROUP_IS_EMPTIED_AND_REFILLED
            assert(!(emptied[item] && j));
#endif
            exists[item] = true;
#ifdef EMPTY_ITEM_FORGOTTEN
            /* deletes only if this very call removed the last entry, which a replay after a crash does not */
            j = j || (entry[AT(item, 0)] == NO_ENTRY && entry[AT(item, 1)] == NO_ENTRY);
#endif
            for (i : 0 .. ROWS - 1) {
                if
                :: fold[AT(item, i)] == REMOVE -> entry[AT(item, i)] = NO_ENTRY
                :: fold[AT(item, i)] > REMOVE -> entry[AT(item, i)] = fold[AT(item, i)] - 1
                :: else
                fi
            }
            if
            :: !j && entry[AT(item, 0)] == NO_ENTRY && entry[AT(item, 1)] == NO_ENTRY -> todo[item] = DELETE_ITEM
            :: else
            fi
        :: else
        fi;
        for (i : 0 .. ROWS - 1) { fold[AT(item, i)] = KEEP }
        i = 0; j = 0
    }
}

inline delete_item(item) {
    d_step {
        exists[item] = false;
#ifdef GROUP_IS_EMPTIED_AND_REFILLED
        emptied[item] = true;
#endif
        todo[item] = NONE
    }
}

/* Operations on different items go out in parallel, in any order; those on one item one after the other. */
inline write_batch() {
    do
    :: atomic { todo[0] == UPDATE_ITEM -> update_item(0); MAY_CRASH }
    :: atomic { todo[1] == UPDATE_ITEM -> update_item(1); MAY_CRASH }
    :: atomic { todo[0] == DELETE_ITEM -> delete_item(0); MAY_CRASH }
    :: atomic { todo[1] == DELETE_ITEM -> delete_item(1); MAY_CRASH }
#ifdef PARALLEL
    :: atomic { IS_NEXT(0) -> take_turn(0) }
    :: atomic { IS_NEXT(1) -> take_turn(1) }
#ifdef WITHOUT_TURNS
    :: atomic { todo[0] == UPDATE_ITEM && todo_next[0] == UPDATE_ITEM -> write_out_of_turn(0) }
    :: atomic { todo[1] == UPDATE_ITEM && todo_next[1] == UPDATE_ITEM -> write_out_of_turn(1) }
#endif
#endif
    :: atomic { ARE_DONE -> break }
    od
}

/* The checkpoint moves only over what is written, and the log is pruned, at once, only before the checkpoint. */
inline save_applied(to) {
    d_step {
#ifndef CHECKPOINT_BEFORE_WRITE
        forget_changes(applied, to);
#endif
        applied = to;
        pruned = to
    }
}

#ifdef LETTERS
inline read_of_letter() {
    d_step {
#ifdef APPLIED_CHANGE_IS_NOT_SHOWN_YET
        assert(!(!IS_SHOWN_UP_TO(0, at) || !IS_SHOWN_UP_TO(1, at)));
#endif
        now[reread] = (IS_IN(SHOWN(reread), 0) -> SHOWN(reread) : ABSENT);
        reread++
    }
}

/* The whole item, or none when no row is left of it. */
inline put_of_letter() {
    d_step {
        put = true;
        exists[0] = (now[0] != ABSENT || now[1] != ABSENT);
        for (i : 0 .. ROWS - 1) {
            entry[AT(0, i)] = (now[i] != ABSENT -> ENTRY(now[i]) : NO_ENTRY)
        }
        i = 0
    }
}

inline forget_reread() {
    d_step { reread = 0; now[0] = ABSENT; now[1] = ABSENT; put = false }
}

/* Whether the engine shows to readers all that is applied. */
#if defined(SETTLED_NOT_SHOWN) || defined(APPLIED_CHANGE_IS_NOT_SHOWN_YET)
#define ALL_SHOWN true
#else
#define ALL_SHOWN (IS_SHOWN_UP_TO(0, at) && IS_SHOWN_UP_TO(1, at))
#endif
#ifdef SETTLED_ACROSS_A_BATCH
#define IS_SETTLING false
#else
#define IS_SETTLING (reread > 0)  /* no batch is begun until the letter is gone */
#endif
#else
#define IS_SETTLING false
#endif

inline apply() {
    do
#ifdef LETTERS
    /* Each row is read at its own time, which is weaker than what the source gives. */
    :: atomic { letter && reread == 0 && ALL_SHOWN -> read_of_letter(); MAY_CRASH }
    :: atomic { reread == 1 -> read_of_letter(); MAY_CRASH }
#ifdef LETTER_REMOVED_BEFORE_WRITE
    :: atomic { letter && reread == ROWS -> letter = false; MAY_CRASH }
    :: atomic { !letter && reread == ROWS -> put_of_letter(); forget_reread() }
#else
    :: atomic { reread == ROWS && !put -> put_of_letter(); MAY_CRASH }
    :: atomic { reread == ROWS && put -> letter = false; forget_reread(); MAY_CRASH }
#endif
#endif
    :: atomic {
            at < logged && !IS_SETTLING ->
            assert(at >= pruned);  /* LogGone */
            if
            :: until = at + 1
            :: at + 2 <= logged -> until = at + 2
            fi;
#ifdef CHECKPOINT_BEFORE_WRITE
            save_applied(until);
#endif
#ifdef PRUNED_AHEAD_OF_CHECKPOINT
            pruned = until;
#endif
            fold_batch();
            MAY_CRASH
        };
        write_batch();
        atomic { at = until; until = 0 }
    :: atomic { applied < at -> save_applied(at); MAY_CRASH }
#ifdef LETTERS
    :: atomic { at == CHANGES && !letter && reread == 0 -> break }
#else
    :: atomic { at == CHANGES -> break }
#endif
    od
}

inline verify() {
    d_step {
        for (i : 0 .. ITEMS - 1) {
            for (j : 0 .. ROWS - 1) {
                assert(entry[AT(i, j)] == (IS_IN(source[j], i) -> ENTRY(source[j]) : NO_ENTRY))
            }
            assert(exists[i] == (entry[AT(i, 0)] != NO_ENTRY || entry[AT(i, 1)] != NO_ENTRY))
        }
    }
}

inline lose_what_is_not_durable() {
    d_step {
#ifdef CAPTURE_FROM_NOW
        if
        :: phase != NEW ->
            for (i : logged + 1 .. changes) { missed[i - 1] = true }
            logged = changes
        :: else
        fi;
#endif
        at = applied;
        until = 0;
#ifdef LETTERS
        reread = 0; now[0] = ABSENT; now[1] = ABSENT; put = false;
#endif
        for (i : 0 .. ITEMS - 1) {
            todo[i] = NONE;
#ifdef PARALLEL
            todo_next[i] = NONE;
#endif
            for (j : 0 .. ROWS - 1) {
                fold[AT(i, j)] = KEEP;
#ifdef PARALLEL
                fold_next[AT(i, j)] = KEEP;
#endif
                exported[AT(i, j)] = (read[i] == ROWS -> exported[AT(i, j)] : ABSENT)
            }
            read[i] = (read[i] == ROWS -> ROWS : 0)
        }
#ifdef LOADED_AGAIN_AFTER_APPLY
        if :: phase == APPLY -> phase = LOAD; loaded[0] = false; loaded[1] = false :: else fi;
#endif
        i = 0; j = 0
    }
}

active proctype migrate() {
    ready;
crash:
    lose_what_is_not_durable();
    do
    :: phase == NEW ->
#ifdef SNAPSHOT_BEFORE_CAPTURE
        snapshot();
#endif
        atomic { begin_capture(); MAY_CRASH }
    :: phase == SNAPSHOT -> snapshot(); atomic { phase = LOAD; MAY_CRASH }
    :: phase == LOAD -> load(); atomic { begin_apply(); MAY_CRASH }
    :: phase == APPLY -> apply(); break
    od;
    verify()
}
