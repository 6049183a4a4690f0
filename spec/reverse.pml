/* The reverse stream, checked by spin over every interleaving, with a crash between any two steps.
 *
 * An application changes one row at DynamoDB. The row is an entry of one of two items, and moves between them. The
 * stream has a shard, which splits; a shard's records are handed to two lanes, one for each item, which write to MySQL
 * side by side. Each lane does its item's changes in order, exactly once. At the end of a rollback MySQL's row is what
 * the items have. README.md says what is modelled, what is not, and what each broken variant (#ifdef) does wrong.
 */

#ifndef CHANGES
#define CHANGES 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef LOOKS
#define LOOKS 2
#endif
#define LOG 12
#define NEVER LOG
#define MARKER 2  /* instead of an item's number */

typedef Record { byte item; byte old; byte new };

/* ---- at DynamoDB ---- */
byte has[2];                  /* what each item has of the row: the number of the write, 0 for no entry */
Record log[LOG];              /* the stream's records; those from split_at on are in the child shard */
byte log_end = 0;
byte shown = 0;               /* a record can be read some time after its write was acknowledged */
byte split_at = NEVER;
bool finished = false;        /* the application is closed, and its leases have ended */

/* ---- durable, in MySQL ---- */
byte row = 1;                 /* the row's mapped columns, 0: there is no row */
byte row_item = 0;            /* the item's key among them */
bool extra = true;            /* the row's columns that no attribute has */
bool held = false;            /* those of a row that was deleted, kept for an INSERT of the same key */
byte place[4];                /* of lane and shard: 2 * lane + shard */
bool touched[2];              /* items that the reverse stream had a change of, or took the row from */
bool in_hand[2];              /* of those, what is being compared before the close: not on the list meanwhile */
bool parent_ended = false;

/* ---- a lane's transaction, which ends with its process ---- */
bool looked[2];               /* it has found no row, which nobody can lock, and will put one */

/* ---- lost in a crash ---- */
bool comparing = false;       /* the list, before its end */
bool over = false;            /* whole, and for the last time */
chan lane_of_item[2] = [1] of { byte };
byte cursor[2];               /* how far each shard is handed out */

byte seen[2];                 /* for the checks: what each item had after its last change that was carried out */
byte start = 0;
byte crashes = 0;
byte looks = 0;

inline record(which, was, becomes) {
    log[log_end].item = which;
    log[log_end].old = was;
    log[log_end].new = becomes;
    log_end++
}

proctype application() {
    byte n = 1;
    byte i;
    do
    :: n <= CHANGES ->
        if :: i = 0 :: i = 1 fi;
        n++;
        if
        :: atomic { has[i] -> record(i, has[i], n); has[i] = n }  /* an update in place */
        :: atomic { has[i] -> record(i, has[i], 0); has[i] = 0 }  /* a deletion */
        :: atomic { !has[0] && !has[1] -> record(i, 0, n); has[i] = n }
        :: atomic {  /* a move in one transaction */
                has[i] ->
                record(i, has[i], 0); has[i] = 0;
                record(1 - i, 0, n); has[1 - i] = n
            }
        :: atomic { has[i] -> record(1 - i, 0, n); has[1 - i] = n };  /* a move in two writes */
            if
            :: atomic { record(i, has[i], 0); has[i] = 0 }
            :: atomic { record(1 - i, n, 0); has[1 - i] = 0 }  /* or taken back */
            fi
        :: true
        fi
    :: n > CHANGES -> break
    od;
    finished = true
}

/* DynamoDB: shows records, and splits the shard once. */
proctype stream() {
end:
    do
    :: atomic { shown < log_end -> shown++ }
    :: atomic { split_at == NEVER && log_end > start -> split_at = log_end; cursor[1] = split_at; place[1] = split_at; place[3] = split_at }
    od
}

#define SHARD(at) (at >= split_at -> 1 : 0)
#define LEAST(shard) (place[shard] < place[2 + shard] -> place[shard] : place[2 + shard])
#define QUIET (empty(lane_of_item[0]) && empty(lane_of_item[1]))

inline hand_out(shard) {
    if
    :: log[cursor[shard]].item == MARKER
    :: else -> lane_of_item[log[cursor[shard]].item] ! cursor[shard]
    fi;
    cursor[shard]++
}

#define FREE(shard) (log[cursor[shard]].item == MARKER || nfull(lane_of_item[log[cursor[shard]].item]))

proctype reader() {
end:
    do
    :: atomic { cursor[0] < shown && cursor[0] < split_at && FREE(0) -> hand_out(0) }
    :: atomic { !parent_ended && cursor[0] == split_at && QUIET -> parent_ended = true }
#ifdef CHILD_BEFORE_PARENT
    :: atomic { cursor[1] < shown && split_at != NEVER && FREE(1) -> hand_out(1) }
#else
    :: atomic { parent_ended && cursor[1] < shown && FREE(1) -> hand_out(1) }
#endif
    :: atomic {
            crashes < CRASHES -> crashes++;
            do
            :: lane_of_item[0] ? _
            :: lane_of_item[1] ? _
            :: QUIET -> break
            od;
            cursor[0] = LEAST(0);
            cursor[1] = LEAST(1);
            looked[0] = false;
            looked[1] = false;
#ifdef TOUCHED_IN_MEMORY
            touched[0] = false;
            touched[1] = false
#endif
        }
    od
}

/* The end of a transaction in MySQL: the row, the lane's place, and that the items were touched. */
inline carry_out(lane_number, at_place) {
    assert(seen[lane_number] == log[at_place].old);  /* in order, exactly once */
    seen[lane_number] = log[at_place].new;
    touched[lane_number] = true;
#ifndef FORMER_ITEM_NOT_TOUCHED
    if
    :: row && !looked[lane_number] -> touched[row_item] = true  /* whose row it found, and locked */
    :: else
    fi;
#endif
    if
    :: log[at_place].new -> put(lane_number, log[at_place].new)
    :: !log[at_place].new && row && row_item == lane_number -> remove()  /* DELETE names the item's key too */
    :: else
    fi;
#ifdef ONE_PLACE_A_SHARD
    place[SHARD(at_place)] = at_place + 1;
    place[2 + SHARD(at_place)] = at_place + 1
#else
    place[2 * lane_number + SHARD(at_place)] = at_place + 1
#endif
}

inline put(whose, value) {
    if
    :: !row -> extra = held; held = false
    :: else
    fi;
    row = value;
    row_item = whose
}

inline remove() {
#ifndef UNMAPPED_FORGOTTEN
    held = extra;
#endif
    extra = false;
    row = 0
}

proctype lane(byte me) {
    byte at;
end:
    do
    :: atomic {
            !looked[me] && !row && nempty(lane_of_item[me]) ->
            lane_of_item[me] ? <at>;
            looked[me] = (at >= place[2 * me + SHARD(at)] && log[at].new);
            at = 0
        }
    :: atomic {
            lane_of_item[me] ? at;
            if
#ifndef LANE_REPEATS
            :: at < place[2 * me + SHARD(at)]  /* it was read again after a crash */
            :: else -> carry_out(me, at)
#else
            :: carry_out(me, at)
#endif
            fi;
            looked[me] = false;
            at = 0
        }
    od
}

/* Who has looked for the row already may write it after it was compared. */
#ifdef TAKEN_DURING_A_WRITE
#define NOBODY_WRITES true
#else
#define NOBODY_WRITES (!looked[0] && !looked[1])
#endif

/* The list is compared early: an item that is as its row says leaves it, unless a change of the item has come since. */
proctype early() {
    byte i;
    byte had;
    bool same;
end:
    do
    :: atomic {
            touched[i] && looks < LOOKS && !over && NOBODY_WRITES -> looks++;
            comparing = true;
#ifndef COMPARED_ON_THE_LIST
            touched[i] = false;
#endif
            in_hand[i] = true
        };
        had = has[i];
        if
        :: same = (had -> row == had && row_item == i : !row || row_item != i)
        :: atomic { crashes < CRASHES -> crashes++; comparing = false; break }
        fi;
        atomic {
#ifdef COMPARED_ON_THE_LIST
            touched[i] = !same;
#else
            touched[i] = touched[i] || !same;
#endif
            in_hand[i] = false;
            comparing = false;
            had = 0;
            same = false
        }
    :: atomic { touched[1 - i] && looks < LOOKS -> i = 1 - i }
    od
}

#define END_IS_READ (cursor[SHARD(mark)] > mark && QUIET)

proctype rollback() {
    byte mark;
    byte wanted;
#ifndef RECONCILED_BEFORE_CLOSED
    finished;
#endif
again:
    atomic { mark = log_end; record(MARKER, 0, 0) };
    do
#ifdef END_BY_QUIET
    :: atomic { cursor[0] >= (split_at < shown -> split_at : shown) && (split_at == NEVER || cursor[1] >= shown) && QUIET ->
            break }
#else
    :: atomic { END_IS_READ && split_at != NEVER && mark < split_at -> goto again }  /* a leaf that has no marker */
    :: atomic { END_IS_READ && (split_at == NEVER || mark >= split_at) -> break }
#endif
    od;
    over = true;
    !comparing;
    atomic {
#ifdef NO_RECONCILIATION
        skip;
#else
#ifdef RECONCILED_ITEM_BY_ITEM
        if :: touched[0] && has[0] -> put(0, has[0]) :: touched[0] && !has[0] && row -> remove() :: else fi;
        if :: touched[1] && has[1] -> put(1, has[1]) :: touched[1] && !has[1] && row -> remove() :: else fi;
#else
#ifndef IN_HAND_FORGOTTEN
        touched[0] = touched[0] || in_hand[0];
        touched[1] = touched[1] || in_hand[1];
        in_hand[0] = false;
        in_hand[1] = false;
#endif
        /* All touched items together. None of them has a row that is left over: the last change of its item, which
         * its DELETE names, would have removed it. */
        if
        :: touched[0] && has[0] -> put(0, has[0])
        :: touched[1] && has[1] -> put(1, has[1])
        :: else
        fi;
#endif
#endif
    };
    finished;
    wanted = (has[0] -> has[0] : has[1]);
    assert(row == wanted);
    assert(!row || (has[row_item] && extra))
}

init {
    atomic {
        has[0] = 1;
        record(0, 0, 1);       /* the forward migration's last write of the item */
#ifndef START_WITHOUT_MARKER
        record(MARKER, 0, 0);
        start = 2;
#endif
        seen[0] = 1;
        shown = log_end;
        cursor[0] = start;
        place[0] = start;
        place[2] = start;
        run application();
        run stream();
        run reader();
        run lane(0);
        run lane(1);
        run early();
        run rollback()
    }
}
