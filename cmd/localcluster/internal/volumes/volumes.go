// Package volumes provisions the volumes of a local cluster.
//
// A claim whose class names one of Provisioners gets a volume as soon as Kubernetes asks for
// one: at once, or when the first pod that uses it has been scheduled. No bytes are stored. A
// volume goes with its claim where the class says so, and grows with it where the class allows.
package volumes

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// DefaultClass is the class of claims that name none, DefaultProvisioner its provisioner.
const (
	DefaultClass       = "standard"
	DefaultProvisioner = "chaperone.dev/local"
)

// Provisioners are played, so that classes written for a cloud work unchanged. A claim of any
// other class stays pending, as on a cluster without that driver.
var Provisioners = []string{
	DefaultProvisioner,
	"ebs.csi.aws.com", "efs.csi.aws.com", "kubernetes.io/aws-ebs",
	"pd.csi.storage.gke.io", "filestore.csi.storage.gke.io", "kubernetes.io/gce-pd",
	"disk.csi.azure.com", "file.csi.azure.com", "kubernetes.io/azure-disk",
	"csi.vsphere.vmware.com", "cinder.csi.openstack.org", "rbd.csi.ceph.com", "cephfs.csi.ceph.com",
	"driver.longhorn.io", "rancher.io/local-path",
}

const (
	provisionerKey  = "volume.kubernetes.io/storage-provisioner"
	provisionedBy   = "pv.kubernetes.io/provisioned-by"
	selectedNodeKey = "volume.kubernetes.io/selected-node"
)

// EnsureDefaultClass creates the default class unless it is there.
func EnsureDefaultClass(ctx context.Context, client kubernetes.Interface) error {
	expand := true
	_, err := client.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        DefaultClass,
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner: DefaultProvisioner, AllowVolumeExpansion: &expand,
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create StorageClass %s: %w", DefaultClass, err)
	}
	return nil
}

// Provisioner works off a queue of claims and volumes.
type Provisioner struct {
	client  kubernetes.Interface
	claims  cache.Indexer
	volumes cache.Indexer
	classes cache.Indexer
	queue   workqueue.TypedRateLimitingInterface[item]
}

type item struct {
	volume bool
	key    string
}

// New watches through factory, which the caller starts afterwards.
func New(factory informers.SharedInformerFactory, client kubernetes.Interface) (*Provisioner, error) {
	claims := factory.Core().V1().PersistentVolumeClaims().Informer()
	volumes := factory.Core().V1().PersistentVolumes().Informer()
	p := &Provisioner{
		client: client, claims: claims.GetIndexer(), volumes: volumes.GetIndexer(),
		classes: factory.Storage().V1().StorageClasses().Informer().GetIndexer(),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[item](50*time.Millisecond, 5*time.Second)),
	}
	if _, err := claims.AddEventHandler(p.enqueue(false)); err != nil {
		return nil, fmt.Errorf("watch claims: %w", err)
	}
	if _, err := volumes.AddEventHandler(p.enqueue(true)); err != nil {
		return nil, fmt.Errorf("watch volumes: %w", err)
	}
	return p, nil
}

func (p *Provisioner) enqueue(volume bool) cache.ResourceEventHandlerFuncs {
	add := func(obj any) {
		if key, err := cache.MetaNamespaceKeyFunc(obj); err == nil {
			p.queue.Add(item{volume, key})
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, obj any) { add(obj) }}
}

// Run works until ctx ends.
func (p *Provisioner) Run(ctx context.Context) {
	context.AfterFunc(ctx, p.queue.ShutDown)
	for {
		next, quit := p.queue.Get()
		if quit {
			return
		}
		if err := p.handle(ctx, next); err != nil {
			p.queue.AddRateLimited(next)
		} else {
			p.queue.Forget(next)
		}
		p.queue.Done(next)
	}
}

func (p *Provisioner) handle(ctx context.Context, next item) error {
	if next.volume {
		obj, ok, err := p.volumes.GetByKey(next.key)
		if err != nil || !ok {
			return err
		}
		return p.release(ctx, obj.(*corev1.PersistentVolume))
	}
	obj, ok, err := p.claims.GetByKey(next.key)
	if err != nil || !ok {
		return err
	}
	claim := obj.(*corev1.PersistentVolumeClaim)
	if claim.DeletionTimestamp != nil {
		return nil
	}
	if claim.Spec.VolumeName != "" {
		return p.expand(ctx, claim)
	}
	return p.provision(ctx, claim)
}

// provision acts only on claims that the volume controller has handed to a provisioner of ours.
func (p *Provisioner) provision(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	provisioner := claim.Annotations[provisionerKey]
	if !slices.Contains(Provisioners, provisioner) || claim.Spec.StorageClassName == nil {
		return nil
	}
	obj, ok, err := p.classes.GetByKey(*claim.Spec.StorageClassName)
	if err != nil || !ok {
		return err
	}
	class := obj.(*storagev1.StorageClass)
	late := class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
	if late && claim.Annotations[selectedNodeKey] == "" {
		return nil
	}
	_, err = p.client.CoreV1().PersistentVolumes().Create(ctx, volumeFor(claim, class, provisioner), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("PersistentVolumeClaim/%s/%s: provision: %w", claim.Namespace, claim.Name, err)
	}
	return nil
}

func volumeFor(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, provisioner string) *corev1.PersistentVolume {
	name := "pvc-" + string(claim.UID)
	kind := corev1.HostPathDirectoryOrCreate
	reclaim := corev1.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		reclaim = *class.ReclaimPolicy
	}
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisioner}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			PersistentVolumeReclaimPolicy: reclaim,
			StorageClassName:              class.Name,
			MountOptions:                  class.MountOptions,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: "/volumes/" + name, Type: &kind},
			},
		},
	}
}

// expand follows a claim that asks for more than it has; the API server has checked the class.
func (p *Provisioner) expand(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	want := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	have, ok := claim.Status.Capacity[corev1.ResourceStorage]
	if claim.Status.Phase != corev1.ClaimBound || !ok || want.Cmp(have) <= 0 || !slices.Contains(Provisioners, claim.Annotations[provisionerKey]) {
		return nil
	}
	volume, err := p.client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	volume.Spec.Capacity[corev1.ResourceStorage] = want
	if _, err := p.client.CoreV1().PersistentVolumes().Update(ctx, volume, metav1.UpdateOptions{}); err != nil {
		return err
	}
	grown := claim.DeepCopy()
	grown.Status.Capacity[corev1.ResourceStorage] = want
	grown.Status.Conditions = nil
	_, err = p.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, grown, metav1.UpdateOptions{})
	return err
}

// release deletes a volume of ours whose claim is gone and whose policy is Delete.
func (p *Provisioner) release(ctx context.Context, volume *corev1.PersistentVolume) error {
	ours := slices.Contains(Provisioners, volume.Annotations[provisionedBy])
	if !ours || volume.DeletionTimestamp != nil || volume.Status.Phase != corev1.VolumeReleased ||
		volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		return nil
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
