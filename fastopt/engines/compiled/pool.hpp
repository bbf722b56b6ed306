// The threads that share a large step's work with the thread that calls it.
//
// There is one pool in a process, of threads that sleep until there is work, and one caller uses it at a time: a
// second one that comes meanwhile does its work alone. Each thread has a share of the tasks, the same part every time,
// which is in its core's cache then; and it takes from the others' shares when it is done, so a helper that wakes late
// delays nobody. Not OpenMP: a forked child would hang in its first parallel loop, and two OpenMP runtimes in one process
// are trouble. Not Python's threads: they need the GIL to start a task.

#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif

namespace fastopt {

// Does a task, in one of the threads that share the work; the caller is thread 0.
using Work = void (*)(void* context, ptrdiff_t task, int thread);

class Pool {
    // How long to look for what is about to happen before sleeping: a thread that is done waits some ten microseconds
    // for the others' last chunks, and then the next pass, or the next step, may follow at once. Waking one up takes some
    // ten microseconds too, and on a virtual machine more.
    static constexpr std::chrono::microseconds patience{50};

    std::mutex mutex;
    std::condition_variable posted, finished;
    std::atomic<unsigned> posts{0};
    std::atomic<int> working{0};
    int made = 0;  // helpers
    int wanted = 0;  // the helpers from 1 to this one may join
    bool taken = false;

    Work work = nullptr;
    void* context = nullptr;

    // The tasks from `next` until `end`. The first share is the caller's, then each helper has its own.
    struct Share {
        std::atomic<ptrdiff_t> next{0};
        ptrdiff_t end = 0;
    };
    std::deque<Share> shares;
    int parties = 0;

    template <class Condition>
    static void spin_until(Condition condition) {
        const auto end = std::chrono::steady_clock::now() + patience;
        while (!condition() && std::chrono::steady_clock::now() < end) {
        }
    }

    // Its own share first, then what others have left.
    void take_tasks(int party) {
        for (int i = 0; i < parties; ++i) {
            Share& share = shares[(party + i) % parties];
            for (ptrdiff_t task = share.next++; task < share.end; task = share.next++) work(context, task, party);
        }
    }

    void help(int party, unsigned seen) {
        std::unique_lock<std::mutex> lock(mutex);
        while (true) {
            while (posts == seen || party > wanted) posted.wait(lock);
            ++working;
            seen = posts;
            lock.unlock();
            take_tasks(party);
            if (--working == 0) {
                // Under the lock, so that the caller cannot miss it between looking and sleeping.
                lock.lock();
                finished.notify_one();
                lock.unlock();
            }
            spin_until([&] { return posts != seen; });
            lock.lock();
        }
    }

    // Makes helpers as long as some are missing; where the system gives no more, the existing ones do the work.
    void grow(int helpers) {
        if (made >= helpers) return;
#if !defined(_WIN32)
        // They begin with the signals blocked: those are for the threads that expect them.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
        try {
            while (shares.size() <= static_cast<size_t>(helpers)) shares.emplace_back();
            for (; made < helpers; ++made) std::thread(&Pool::help, this, made + 1, posts.load()).detach();
        } catch (const std::exception&) {
        }
#if !defined(_WIN32)
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
    }

    static std::atomic<Pool*>& current() {
        static std::atomic<Pool*> pool{nullptr};
        return pool;
    }

    // A forked child has none of the threads, and the locks are as they happened to be: it starts anew, and leaves the
    // old pool where it is.
    static void after_fork() { current() = nullptr; }

    // The pool, or nullptr where there is no memory for one.
    static Pool* get() {
#if !defined(_WIN32)
        static const int registered = pthread_atfork(nullptr, nullptr, after_fork);
        (void)registered;
#endif
        Pool* pool = current();
        if (pool == nullptr) {
            Pool* fresh;
            try {
                fresh = new Pool;
            } catch (const std::exception&) {
                return nullptr;
            }
            if (current().compare_exchange_strong(pool, fresh)) return fresh;
            delete fresh;
        }
        return pool;
    }

    // Whether it has been done: not while another caller has the pool, nor without any thread.
    bool run(int helpers, ptrdiff_t tasks, Work function, void* its) {
        {
            std::lock_guard<std::mutex> lock(mutex);
            if (taken) return false;
            grow(helpers);
            helpers = std::min(helpers, made);
            if (helpers == 0) return false;
            taken = true;
            work = function, context = its;
            parties = helpers + 1;
            for (int i = 0; i < parties; ++i) {
                shares[i].next = tasks * i / parties;
                shares[i].end = tasks * (i + 1) / parties;
            }
            wanted = helpers;
            ++posts;
        }
        posted.notify_all();
        take_tasks(0);
        {
            // From now on nobody joins; those who have are in their last task.
            std::lock_guard<std::mutex> lock(mutex);
            wanted = 0;
        }
        spin_until([&] { return working == 0; });
        std::unique_lock<std::mutex> lock(mutex);
        while (working != 0) finished.wait(lock);
        taken = false;
        return true;
    }

public:
    // Does `work(context, task, thread)` for each task from 0 to count - 1, each in one of up to `threads` threads.
    static void for_each(int threads, ptrdiff_t count, Work work, void* context) noexcept {
        Pool* pool = threads > 1 && count > 1 ? get() : nullptr;
        const int helpers = static_cast<int>(threads < count ? threads : count) - 1;
        if (pool != nullptr && pool->run(helpers, count, work, context)) return;
        for (ptrdiff_t task = 0; task < count; ++task) work(context, task, 0);
    }
};

}  // namespace fastopt
