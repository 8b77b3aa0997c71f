"""Workers over a queue, with a lock and a shared list."""

import queue
import threading

import requests


class Worker(threading.Thread):
    def __init__(self, url, jobs, results, lock):
        super().__init__()
        self.url, self.jobs, self.results, self.lock = url, jobs, results, lock

    def run(self):
        while True:
            job = self.jobs.get()
            if job is None:
                break
            answer = requests.post(self.url + "/invoices", json={"job": job}, timeout=10).json()
            with self.lock:
                self.results.append(answer["job"])
            self.jobs.task_done()


def main(event):
    jobs, results, lock = queue.Queue(), [], threading.Lock()
    workers = [Worker(event.data.url, jobs, results, lock) for _ in range(3)]
    for worker in workers:
        worker.start()
    for job in range(6):
        jobs.put(job)
    jobs.join()
    for _ in workers:
        jobs.put(None)
    for worker in workers:
        worker.join()
    return sorted(results)
