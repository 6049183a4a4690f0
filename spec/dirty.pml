/* The items that a cutover verifies while nobody can write, checked by spin over every interleaving, with crashes.
 *
 * An application changes two items' rows at MySQL, the applier writes the items. One of its writes goes wrong, somewhere,
 * without a word; another program may write an item as well. A full verification, then quick ones, find both sides
 * equal. At the cutover only the items of the dirty set are compared: the others must be equal without a look.
 * README.md says what is modelled, what is not, and what each broken variant (#ifdef) does wrong.
 */

#ifndef CHANGES
#define CHANGES 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#define WRONG 8
#define FOREIGN 9

typedef Change { byte from; byte to; byte content };

/* ---- durable ---- */
byte source[2] = 1;           /* what MySQL's rows make of each item; 0: there is no row */
byte target[2] = 1;
Change log[CHANGES];
byte log_end = 0;
byte saved = 0;               /* the Checkpoint: how far the applier is known to be */
byte dirty[2];                /* where in the log the last change of each item ends that the dirty set has */
byte verified = 0;            /* everything was equal at some time, but for what the log has after this place */
bool was_verified = false;
bool stream_on = false;
bool in_stream[2];            /* written by another program while the target's stream was on */

/* ---- lost in a crash ---- */
byte applied = 0;
byte added[2];                /* of the dirty set, not synced yet */

byte faults = 0;
byte foreign = 0;
byte crashes = 0;
bool fenced = false;
bool decided = false;

proctype application() {
    byte n = 1;
    byte i;
    do
    :: log_end < CHANGES ->
        if :: i = 0 :: i = 1 fi;
        n++;
        atomic {
            if
            :: true -> log[log_end].from = i; log[log_end].to = i
            :: source[i] -> log[log_end].from = i; log[log_end].to = 1 - i; source[i] = 0  /* its row moves to the other item */
            fi;
            source[log[log_end].to] = n;
            log[log_end].content = n;
            log_end++
        }
    :: true -> break
    od;
    fenced = true
}

inline add(which) {
    if
    :: added[which] < applied + 1 -> added[which] = applied + 1
    :: else
    fi
}

inline put(which, value) {
    if
    :: true -> target[which] = value
    :: faults == 0 -> faults++; target[which] = WRONG
    :: faults == 0 -> faults++  /* acknowledged, and not written */
    fi
}

inline sync() {
    dirty[0] = (added[0] > dirty[0] -> added[0] : dirty[0]);
    dirty[1] = (added[1] > dirty[1] -> added[1] : dirty[1])
}

proctype applier() {
    byte from;
    byte to;
end:
    do
    :: atomic {
            applied < log_end && !decided ->
            from = log[applied].from;
            to = log[applied].to;
            add(to);
            if
#ifndef OLD_KEY_NOT_DIRTY
            :: from != to -> add(from); put(from, 0)
#else
            :: from != to -> put(from, 0)
#endif
            :: else
            fi;
            put(to, log[applied].content);
            applied++;
            from = 0;
            to = 0
        }
#ifdef SAVED_BEFORE_SYNC
    :: atomic { saved < applied && !decided -> saved = applied };
        if
        :: atomic { true -> sync() }
        :: atomic { crashes < CRASHES -> crashes++; applied = saved; added[0] = 0; added[1] = 0 }
        fi
#else
    :: atomic { saved < applied && !decided -> sync(); saved = applied }  /* synced first, or both again after a crash */
#endif
    :: atomic { crashes < CRASHES && !decided -> crashes++; applied = saved; added[0] = 0; added[1] = 0 }
    od
}

proctype somebody() {
end:
    atomic { foreign == 0 && !decided -> foreign++; target[0] = FOREIGN; in_stream[0] = stream_on }
}

#define DIRTY(which) (dirty[which] > verified || added[which] > verified)

#ifdef NOT_FROM_THE_CHECKPOINT
#define BEGIN applied
#else
#define BEGIN saved
#endif

/* Each side is read at its own time. What differs for good is a difference, and there is no verification. */
inline compare(which) {
    atomic { expected = source[which] };
    if
    :: expected == target[which]
    :: goto failed
    fi
}

proctype coordinator() {
    byte begun;
    byte expected;
    bool both;
    bool first;
    bool second;
    byte rounds = 0;
#ifndef STREAM_AFTER_VERIFICATION
    stream_on = true;
#endif
verify:
    /* The place first, then which items: what is added in between is looked at now, and once more. */
#ifdef ITEMS_BEFORE_PLACE
    atomic { first = !was_verified || DIRTY(0); second = !was_verified || DIRTY(1) };
    begun = BEGIN;
#else
    begun = BEGIN;
    atomic { first = !was_verified || DIRTY(0); second = !was_verified || DIRTY(1) };
#endif
    if :: first -> compare(0) :: else fi;
    if :: second -> compare(1) :: else fi;
#ifdef FROM_THE_END
    begun = BEGIN;
#endif
    atomic { verified = begun; was_verified = true };
    stream_on = true;
    if
    :: rounds == 0 -> rounds++; goto verify
    :: true
    fi;
    fenced;
    atomic {
        applied == log_end ->
        decided = true;
        if
        :: DIRTY(0) && source[0] != target[0] -> goto failed
        :: DIRTY(1) && source[1] != target[1] -> goto failed
        :: in_stream[0] && !DIRTY(0) -> goto failed  /* nobody whom we know wrote it */
        :: else
        fi;
        assert(source[0] == target[0]);
        assert(source[1] == target[1])
    };
failed:
    skip
}

init {
    atomic {
        run application();
        run applier();
        run somebody();
        run coordinator()
    }
}
