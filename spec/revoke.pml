/* The fence that takes accounts their rights, checked by spin: why what was under way is waited for before the lock.
 *
 * A statement asks for its right first and waits for the table's lock then; in the end it writes, whatever was revoked in
 * between. A connection that is open keeps a right that was granted on the schema. README.md has the variants.
 */

#define APPS 2
#ifndef STATEMENTS
#define STATEMENTS 4
#endif

bool may = true;         /* the right, granted on the table */
bool lock = false;       /* LOCK TABLES … WRITE */
byte log_end = 0;        /* of the binlog */
byte last = 0;           /* the end position P */
bool asked[APPS];        /* a statement that had the right, and has not ended */
byte begun = 0;
bool decided = false;

#ifdef GRANTED_ON_SCHEMA
#define MAY true         /* as the connection had it when it was made */
#else
#define MAY may
#endif

proctype application(byte me) {
    do
    :: atomic { begun < STATEMENTS && MAY -> begun++; asked[me] = true };
        atomic {
            !lock ->
            assert(!decided);
            log_end++;
            asked[me] = false
        }
    :: atomic { begun < STATEMENTS && !MAY -> begun++ }  /* refused */
    :: begun == STATEMENTS -> break
    od
}

proctype coordinator() {
#ifdef REVOKED_WITHIN_LOCK
    lock = true;
    may = false;
#else
    may = false;
#ifndef NOT_WAITED
    !asked[0];  /* each has ended once: what it begins from here on is refused */
    !asked[1];
#endif
    lock = true;
#endif
    last = log_end;
    lock = false;
    /* Drained to P, and verified. Sealed: nothing has come since, under the lock again. */
    lock = true;
#if defined(REVOKED_WITHIN_LOCK) || defined(NOT_WAITED) || defined(GRANTED_ON_SCHEMA)
    if
    :: atomic { log_end != last -> goto undone }  /* what came late enough to be seen */
    :: log_end == last
    fi;
#else
    assert(log_end == last);  /* by applications that keep to their rights, nothing has */
#endif
    decided = true;
undone:
    lock = false
}

init {
    atomic {
        run application(0);
        run application(1);
        run coordinator()
    }
}
